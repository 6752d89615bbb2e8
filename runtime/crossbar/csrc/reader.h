// An array between its converters: the compiled counterpart of `CircuitMvm`'s NumPy path.
#pragma once

#include <optional>

#include "plan.h"

namespace nvmc {

// Which reads the input vectors of each entry are.
struct Reads {
  std::array<std::optional<Key>, kFresh> keys{};  // of what is drawn
  const std::int64_t* entries = nullptr;
  const std::int64_t* parts = nullptr;
};

class Reader {
 public:
  // `plan` without its blocks and tiles, and the kernel that is to run it.
  Reader(Plan plan, const Kernel& kernel);

  // Adds a row of tiles, whose matrices are (groups, rows, width), that of currents with all rows
  // for every response; no variance where null.
  void add(Size first_row, Size rows, Converter adc, Curves curves, const float* currents,
           const float* variance, const float* at_unit,
           std::vector<std::vector<double>> responses);

  // Says what the DACs of the last tile's rows do to codes; both (groups, rows).
  void bend(const double* bow, const double* curl, double top);

  const Plan& plan() const { return plan_; }

  // Reads every vector of the source into the sink.
  void read(const Source& source, const Drive& drive, const Reads& reads, const Sink& sink) const;

 private:
  std::vector<float> packed(const float* matrices, Size rows) const;

  Plan plan_;
  const Kernel* kernel_;
};

}  // namespace nvmc
