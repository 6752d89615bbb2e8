// The DACs: the compiled counterpart of `Dac.drive`.
#pragma once

#include "plan.h"

namespace nvmc {

// An array of entries whose last axis lies side by side.
struct Layout {
  std::vector<Size> shape;               // of an entry
  std::vector<std::ptrdiff_t> strides;   // likewise
  std::ptrdiff_t entry = 0;              // from one entry to the next
};

struct Encoded {
  float* step;
  float* offset;
  bool* is_signed;
};

// Numbers of `layout.shape` an entry, one after the other, into codes that lie as `layout` says.
void encode(const Kernel& kernel, const Converting& dac, const float* x, Size entries,
            const Layout& layout, float* codes, const Encoded& encoded);

}  // namespace nvmc
