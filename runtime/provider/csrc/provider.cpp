// The execution provider: its factory, one instance a session, and the two symbols that
// onnxruntime looks up in the library.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cctype>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "graph.h"
#include "host.h"
#include "kernel.h"
#include "python.h"

#define NVMC_EXPORT extern "C" __attribute__((visibility("default")))

namespace nvmc {
namespace {

// One session's provider. Decisions are made by a Python object with the methods
// `claim(nodes, target)` and `compile(node)`; see runtime/provider/session.py.
//
// onnxruntime only logs errors of GetCapability, and its Python interface answers those of CreateEp
// by running the network on the CPU: either way, noise would silently go missing. So such an error
// is kept, the nodes are claimed all the same, and Compile, whose errors arrive, reports it.
class Provider : public ort::Ep {
 public:
  Provider(const Host& host, const py::dict& options)
      : ort::Ep{ort::kApiVersion, name, get_capability, compile, release_kernels, {}},
        host_(host) {
    attempt([&] {
      const auto module = py::module_::import("nvmc.runtime.provider.session");
      session_ = module.attr("open_session")(options);
    });
  }

 private:
  using Nodes = std::vector<const ort::Node*>;

  static const char* name(const ort::Ep*) noexcept { return kProviderName; }

  static ort::Status* get_capability(ort::Ep* self, const ort::Graph* graph,
                                     ort::GraphSupportInfo* support) noexcept {
    auto* provider = static_cast<Provider*>(self);
    return guarded(provider->host_, "", [&] { provider->claim(graph, support); });
  }

  static ort::Status* compile(ort::Ep* self, const ort::Graph** graphs, const ort::Node** fused,
                              std::size_t count, ort::NodeComputeInfo** kernels,
                              ort::Node**) noexcept {
    const auto* provider = static_cast<const Provider*>(self);
    return guarded(provider->host_, "", [&] {
      std::vector<std::unique_ptr<Kernel>> made;
      for (std::size_t i = 0; i < count; ++i) {
        made.push_back(provider->kernel_of(graphs[i], fused[i]));
      }
      for (std::size_t i = 0; i < count; ++i) kernels[i] = made[i].release();
    });
  }

  static void release_kernels(ort::Ep*, ort::NodeComputeInfo** kernels,
                              std::size_t count) noexcept {
    for (std::size_t i = 0; i < count; ++i) retire(static_cast<Kernel*>(kernels[i]));
  }

  // Runs `step` unless an earlier one failed; keeps what goes wrong.
  template <typename Step>
  void attempt(Step step) {
    if (!failure_.empty()) return;
    try {
      step();
    } catch (const py::error_already_set& error) {
      failure_ = describe(error);
    } catch (const std::exception& error) {
      failure_ = error.what();
    }
  }

  void claim(const ort::Graph* graph, ort::GraphSupportInfo* support) {
    Nodes ours = nodes_of(host_, graph);
    const auto foreign = [this](const ort::Node* node) { return !is_ours(host_, node); };
    ours.erase(std::remove_if(ours.begin(), ours.end(), foreign), ours.end());
    if (ours.empty()) return;
    std::vector<bool> answers(ours.size(), true);
    attempt([&] { answers = answers_of(graph, ours); });
    const ort::FusionOptions options{ort::kApiVersion, false};
    for (std::size_t i = 0; i < ours.size(); ++i) {
      if (!answers.at(i)) continue;
      host_.check(ort::AddNodesToFuse(host_.ep_api, support, &ours[i], 1, &options));
    }
  }

  std::vector<bool> answers_of(const ort::Graph* graph, const Nodes& nodes) const {
    py::list descriptions;
    for (const ort::Node* node : nodes) descriptions.append(describe_node(host_, graph, node));
    const py::object answers = session_.attr("claim")(descriptions, target_text(host_, graph));
    return answers.cast<std::vector<bool>>();
  }

  std::unique_ptr<Kernel> kernel_of(const ort::Graph* graph, const ort::Node* fused) const {
    if (!failure_.empty()) throw std::runtime_error(failure_);
    const ort::Node* node = nodes_of(host_, graph).at(0);  // each claimed node is fused alone
    const py::dict description = describe_node(host_, graph, node);
    return std::make_unique<Kernel>(host_, node, fused, session_.attr("compile")(description));
  }

  Host host_;
  py::object session_;
  std::string failure_;
};

// "sigma" for "ep.nvmcexecutionprovider.sigma"; empty for another's key.
std::string option_name(const std::string& key) {
  std::string prefix = std::string("ep.") + kProviderName + ".";
  const auto same = [](unsigned char a, unsigned char b) {
    return std::tolower(a) == std::tolower(b);
  };
  const bool ours = key.size() >= prefix.size() &&
                    std::equal(prefix.begin(), prefix.end(), key.begin(), same);
  return ours ? key.substr(prefix.size()) : "";
}

py::dict options_of(const Host& host, const ort::SessionOptions* session_options) {
  ort::KeyValuePairs* found = nullptr;
  host.check(ort::GetConfigEntries(host.api, session_options, &found));
  const auto pairs = owned(host, found, ort::ReleaseKeyValuePairs);
  const char* const* keys = nullptr;
  const char* const* values = nullptr;
  std::size_t count = 0;
  ort::GetKeyValuePairs(host.api, found, &keys, &values, &count);
  py::dict options;
  for (std::size_t i = 0; i < count; ++i) {
    const std::string option = option_name(keys[i]);
    if (!option.empty()) options[py::str(option)] = py::str(values[i]);
  }
  return options;
}

class Factory : public ort::EpFactory {
 public:
  explicit Factory(const Host& host)
      : ort::EpFactory{ort::kApiVersion, name,         vendor,         devices,     create,
                       release,          vendor_id,    version,        nullptr,     no_allocator,
                       keep_allocator,   no_transfer,  stream_aware,   {}},
        host_(host) {}

 private:
  static const char* name(const ort::EpFactory*) noexcept { return kProviderName; }
  static const char* vendor(const ort::EpFactory*) noexcept { return "nvmc"; }
  static const char* version(const ort::EpFactory*) noexcept { return NVMC_VERSION; }
  static std::uint32_t vendor_id(const ort::EpFactory*) noexcept { return 0; }
  static bool stream_aware(const ort::EpFactory*) noexcept { return false; }

  static ort::Status* devices(ort::EpFactory* self, const ort::HardwareDevice* const* hardware,
                              std::size_t count, ort::EpDevice** devices, std::size_t max_devices,
                              std::size_t* device_count) noexcept {
    const Host& host = static_cast<Factory*>(self)->host_;
    *device_count = 0;
    for (std::size_t i = 0; i < count && *device_count < std::min<std::size_t>(1, max_devices);
         ++i) {
      if (ort::GetHardwareType(host.api, hardware[i]) != ort::kCpu) continue;
      ort::Status* status = ort::CreateEpDevice(host.ep_api, self, hardware[i], nullptr, nullptr,
                                                &devices[*device_count]);
      if (status != nullptr) return status;
      ++*device_count;
    }
    return nullptr;
  }

  static ort::Status* create(ort::EpFactory* self, const ort::HardwareDevice* const*,
                             const ort::KeyValuePairs* const*, std::size_t,
                             const ort::SessionOptions* session_options, const void*,
                             ort::Ep** ep) noexcept {
    const Host& host = static_cast<Factory*>(self)->host_;
    return guarded(host, "", [&] { *ep = new Provider(host, options_of(host, session_options)); });
  }

  static void release(ort::EpFactory*, ort::Ep* ep) noexcept { retire(static_cast<Provider*>(ep)); }

  // onnxruntime calls these three without asking whether they are there.
  static ort::Status* no_allocator(ort::EpFactory*, const void*, const ort::KeyValuePairs*,
                                   ort::Allocator** allocator) noexcept {
    *allocator = nullptr;
    return nullptr;
  }
  static void keep_allocator(ort::EpFactory*, ort::Allocator*) noexcept {}
  static ort::Status* no_transfer(ort::EpFactory*, void** transfer) noexcept {
    *transfer = nullptr;
    return nullptr;
  }

  Host host_;
};

// A status for an onnxruntime whose table has no more than its oldest entries for us.
ort::Status* too_old(const ort::ApiBase* base) {
  const std::string message = std::string("onnxruntime is ") + base->GetVersionString() +
                              ", but " + kProviderName + " needs " + ort::kLowestVersion +
                              " or newer; upgrade onnxruntime";
  const ort::Api* oldest = base->GetApi(1);
  return ort::CreateStatus(oldest, ort::kFail, message.c_str());
}

}  // namespace
}  // namespace nvmc

NVMC_EXPORT nvmc::ort::Status* CreateEpFactories(const char*, const nvmc::ort::ApiBase* base,
                                                 const void*, nvmc::ort::EpFactory** factories,
                                                 std::size_t max_factories, std::size_t* count) {
  const nvmc::ort::Api* api = base->GetApi(nvmc::ort::kApiVersion);
  if (api == nullptr) return nvmc::too_old(base);
  const nvmc::Host host{api, nvmc::ort::GetEpApi(api)};
  if (max_factories < 1) return host.failure("onnxruntime takes no factory from the library");
  factories[0] = new nvmc::Factory(host);
  *count = 1;
  return nullptr;
}

NVMC_EXPORT nvmc::ort::Status* ReleaseEpFactory(nvmc::ort::EpFactory* factory) {
  delete static_cast<nvmc::Factory*>(factory);
  return nullptr;
}
