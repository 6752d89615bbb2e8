// The part of onnxruntime's C ABI that the provider uses.
//
// onnxruntime's wheel carries no headers. Its API tables are arrays of function pointers that only
// ever grow at the end, so an entry is named here by its slot number and its signature; the slots
// are those of onnxruntime_c_api.h and onnxruntime_ep_c_api.h (MIT License, Microsoft). Structs
// list their fields up to API version `kApiVersion`, in order; what we leave null is `Unused`.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nvmc::ort {

inline constexpr std::uint32_t kApiVersion = 24;
// Earlier releases of 1.24 refuse a network whose If has claimed nodes in both branches.
inline constexpr const char* kLowestVersion = "1.24.4";

struct Api;
struct EpApi;
struct EpDevice;
struct GraphSupportInfo;
struct Graph;
struct HardwareDevice;
struct KernelContext;
struct KeyValuePairs;
struct Allocator;
struct ModelMetadata;
struct Node;
struct OpAttribute;
struct SessionOptions;
struct Status;
struct TensorInfo;
struct TypeInfo;
struct Value;
struct ValueInfo;

enum ErrorCode : int { kFail = 1 };
enum HardwareType : int { kCpu = 0 };
enum AttributeType : int { kInt = 1, kInts, kFloat, kFloats, kString, kStrings };
enum ElementType : int {
  kUndefined = 0,
  kFloat32,
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kInt32,
  kInt64,
  kText,
  kBool,
  kFloat16,
  kFloat64,
  kUint32,
  kUint64,
};

// One entry of a table: `entry(table, arguments...)` calls it.
template <typename Table, std::size_t Slot, typename Signature>
struct Entry;

template <typename Table, std::size_t Slot, typename Result, typename... Arguments>
struct Entry<Table, Slot, Result(Arguments...)> {
  Result operator()(const Table* table, Arguments... arguments) const {
    using Function = Result (*)(Arguments...);
    return reinterpret_cast<const Function*>(table)[Slot](arguments...);
  }
};

template <std::size_t Slot, typename Signature>
using ApiEntry = Entry<Api, Slot, Signature>;
template <std::size_t Slot, typename Signature>
using EpApiEntry = Entry<EpApi, Slot, Signature>;

inline constexpr ApiEntry<0, Status*(ErrorCode, const char*)> CreateStatus{};
inline constexpr ApiEntry<2, const char*(const Status*)> GetErrorMessage{};
inline constexpr ApiEntry<93, void(Status*)> ReleaseStatus{};

inline constexpr ApiEntry<51, Status*(Value*, void**)> GetTensorMutableData{};
inline constexpr ApiEntry<55, Status*(const TypeInfo*, const TensorInfo**)> CastToTensorInfo{};
inline constexpr ApiEntry<60, Status*(const TensorInfo*, ElementType*)> GetTensorElementType{};
inline constexpr ApiEntry<61, Status*(const TensorInfo*, std::size_t*)> GetDimensionsCount{};
inline constexpr ApiEntry<62, Status*(const TensorInfo*, std::int64_t*, std::size_t)>
    GetDimensions{};
inline constexpr ApiEntry<65, Status*(const Value*, TensorInfo**)> GetTensorTypeAndShape{};
inline constexpr ApiEntry<99, void(TensorInfo*)> ReleaseTensorInfo{};
inline constexpr ApiEntry<378, Status*(const Value*, const void**)> GetTensorData{};

inline constexpr ApiEntry<76, Status*(Allocator*, void*)> AllocatorFree{};
inline constexpr ApiEntry<78, Status*(Allocator**)> GetDefaultAllocator{};
inline constexpr ApiEntry<90, Status*(const KernelContext*, std::size_t, const Value**)>
    GetKernelInput{};
inline constexpr ApiEntry<91, Status*(KernelContext*, std::size_t, const std::int64_t*,
                                      std::size_t, Value**)>
    GetKernelOutput{};

inline constexpr ApiEntry<116, Status*(const ModelMetadata*, Allocator*, const char*, char**)>
    LookupMetadata{};
inline constexpr ApiEntry<118, void(ModelMetadata*)> ReleaseModelMetadata{};
inline constexpr ApiEntry<387, Status*(const Graph*, ModelMetadata**)> GetModelMetadata{};

inline constexpr ApiEntry<298, void(const KeyValuePairs*, const char* const**,
                                    const char* const**, std::size_t*)>
    GetKeyValuePairs{};
inline constexpr ApiEntry<300, void(KeyValuePairs*)> ReleaseKeyValuePairs{};
inline constexpr ApiEntry<379, Status*(const SessionOptions*, KeyValuePairs**)> GetConfigEntries{};
inline constexpr ApiEntry<307, HardwareType(const HardwareDevice*)> GetHardwareType{};
inline constexpr ApiEntry<317, const EpApi*()> GetEpApi{};

inline constexpr ApiEntry<289, Status*(const ValueInfo*, const char**)> GetValueName{};
inline constexpr ApiEntry<290, Status*(const ValueInfo*, const TypeInfo**)> GetValueType{};
inline constexpr ApiEntry<331, Status*(const ValueInfo*, bool*)> IsConstantInitializer{};

inline constexpr ApiEntry<333, Status*(const Graph*, const char**)> GetGraphName{};
inline constexpr ApiEntry<344, Status*(const Graph*, std::size_t*)> GetNodeCount{};
inline constexpr ApiEntry<345, Status*(const Graph*, const Node**, std::size_t)> GetNodes{};
inline constexpr ApiEntry<348, Status*(const Node*, std::size_t*)> GetNodeId{};
inline constexpr ApiEntry<349, Status*(const Node*, const char**)> GetNodeName{};
inline constexpr ApiEntry<350, Status*(const Node*, const char**)> GetOperatorType{};
inline constexpr ApiEntry<351, Status*(const Node*, const char**)> GetDomain{};
inline constexpr ApiEntry<352, Status*(const Node*, int*)> GetSinceVersion{};
inline constexpr ApiEntry<353, Status*(const Node*, std::size_t*)> GetInputCount{};
inline constexpr ApiEntry<354, Status*(const Node*, const ValueInfo**, std::size_t)> GetInputs{};
inline constexpr ApiEntry<355, Status*(const Node*, std::size_t*)> GetOutputCount{};
inline constexpr ApiEntry<356, Status*(const Node*, const ValueInfo**, std::size_t)> GetOutputs{};
inline constexpr ApiEntry<359, Status*(const Node*, std::size_t*)> GetAttributeCount{};
inline constexpr ApiEntry<360, Status*(const Node*, const OpAttribute**, std::size_t)>
    GetAttributes{};
inline constexpr ApiEntry<363, Status*(const OpAttribute*, AttributeType*)> GetAttributeType{};
inline constexpr ApiEntry<364, Status*(const OpAttribute*, const char**)> GetAttributeName{};
inline constexpr ApiEntry<272, Status*(const OpAttribute*, AttributeType, void*, std::size_t,
                                       std::size_t*)>
    ReadAttribute{};

struct FusionOptions {
  std::uint32_t version;
  bool drop_constant_initializers;
};

struct EpFactory;

inline constexpr EpApiEntry<0, Status*(EpFactory*, const HardwareDevice*, const KeyValuePairs*,
                                       const KeyValuePairs*, EpDevice**)>
    CreateEpDevice{};
inline constexpr EpApiEntry<2, Status*(GraphSupportInfo*, const Node* const*, std::size_t,
                                       const FusionOptions*)>
    AddNodesToFuse{};

using Unused = void (*)();

struct ApiBase {
  const Api* (*GetApi)(std::uint32_t version) noexcept;
  const char* (*GetVersionString)() noexcept;
};

struct NodeComputeInfo {
  std::uint32_t version;
  Status* (*CreateState)(NodeComputeInfo*, void* context, void** state) noexcept;
  Status* (*Compute)(NodeComputeInfo*, void* state, KernelContext*) noexcept;
  void (*ReleaseState)(NodeComputeInfo*, void* state) noexcept;
};

struct Ep {
  std::uint32_t version;
  const char* (*GetName)(const Ep*) noexcept;
  Status* (*GetCapability)(Ep*, const Graph*, GraphSupportInfo*) noexcept;
  Status* (*Compile)(Ep*, const Graph**, const Node** fused, std::size_t count, NodeComputeInfo**,
                     Node** context_nodes) noexcept;
  void (*ReleaseNodeComputeInfos)(Ep*, NodeComputeInfo**, std::size_t count) noexcept;
  Unused optional[10];  // GetPreferredDataLayout ... IsConcurrentRunSupported
};

struct EpFactory {
  std::uint32_t version;
  const char* (*GetName)(const EpFactory*) noexcept;
  const char* (*GetVendor)(const EpFactory*) noexcept;
  Status* (*GetSupportedDevices)(EpFactory*, const HardwareDevice* const*, std::size_t count,
                                 EpDevice**, std::size_t max_devices,
                                 std::size_t* device_count) noexcept;
  Status* (*CreateEp)(EpFactory*, const HardwareDevice* const*, const KeyValuePairs* const*,
                      std::size_t count, const SessionOptions*, const void* logger, Ep**) noexcept;
  void (*ReleaseEp)(EpFactory*, Ep*) noexcept;
  std::uint32_t (*GetVendorId)(const EpFactory*) noexcept;
  const char* (*GetVersion)(const EpFactory*) noexcept;
  Unused validate_compiled_model;
  Status* (*CreateAllocator)(EpFactory*, const void* memory_info, const KeyValuePairs*,
                             Allocator**) noexcept;
  void (*ReleaseAllocator)(EpFactory*, Allocator*) noexcept;
  Status* (*CreateDataTransfer)(EpFactory*, void** data_transfer) noexcept;
  bool (*IsStreamAware)(const EpFactory*) noexcept;
  Unused optional[5];  // CreateSyncStreamForDevice ... GetCustomOpDomains
};

}  // namespace nvmc::ort
