// onnxruntime's tables, its statuses as exceptions, and its objects as owned pointers.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>

#include "ort_abi.h"

namespace nvmc {

inline constexpr const char* kProviderName = "NvmcExecutionProvider";
inline constexpr const char* kDomain = "nvmc";
inline constexpr const char* kTargetKey = "nvmc.target";

// The running onnxruntime.
struct Host {
  const ort::Api* api;
  const ort::EpApi* ep_api;

  // Throws where onnxruntime reports an error.
  void check(ort::Status* status) const {
    if (status == nullptr) return;
    const std::string message = ort::GetErrorMessage(api, status);
    ort::ReleaseStatus(api, status);
    throw std::runtime_error(message);
  }

  ort::Status* failure(const std::string& message) const noexcept {
    return ort::CreateStatus(api, ort::kFail, message.c_str());
  }
};

// An object that onnxruntime made for us to release, by the table entry `release`.
template <typename Object, typename Release>
auto owned(const Host& host, Object* object, Release release) {
  auto deleter = [api = host.api, release](Object* pointer) { release(api, pointer); };
  return std::unique_ptr<Object, decltype(deleter)>(object, deleter);
}

}  // namespace nvmc
