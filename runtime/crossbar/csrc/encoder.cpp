#include "encoder.h"

#include <cmath>
#include <limits>

namespace nvmc {
namespace {

// Calls `visit(place)` for every row of an entry: where its codes begin.
template <typename Visit>
void each_row(const Layout& layout, Visit visit) {
  const Size axes = layout.shape.size() - 1;
  std::vector<Size> index(axes, 0);
  std::ptrdiff_t place = 0;
  for (;;) {
    visit(place);
    Size axis = axes;
    for (; axis-- > 0;) {
      place += layout.strides[axis];
      if (++index[axis] < layout.shape[axis]) break;
      place -= layout.strides[axis] * static_cast<std::ptrdiff_t>(layout.shape[axis]);
      index[axis] = 0;
    }
    if (axis == static_cast<Size>(-1)) return;
  }
}

}  // namespace

void encode(const Kernel& kernel, const Converting& dac, const float* x, Size entries,
            const Layout& layout, float* codes, const Encoded& encoded) {
  Size size = 1;
  for (const Size length : layout.shape) size *= length;
  const Size row = layout.shape.back();
  for (Size entry = 0; entry < entries; ++entry) {
    const float* from = x + entry * size;
    float low = 0;
    float high = 0;
    kernel.reach(from, size, low, high);
    const float least = -low;
    float range = std::isnan(low) ? low : (high > least ? high : least);
    if (dac.limited) range = dac.limit;
    const bool is_signed = !(low >= 0);  // NaN may hide what is negative
    const float half = is_signed ? dac.half : 0.0f;
    const float top = half > 0 ? half : dac.top;
    const float step = range / top;
    Scale scale{.whole = dac.whole, .bound = std::numeric_limits<float>::infinity()};
    if (step != 0) scale = {dac.whole, step, top, range, scale.bound};
    if (dac.limited) scale.bound = step == 0 ? 0.0f : top;
    float* to = codes + static_cast<std::ptrdiff_t>(entry) * layout.entry;
    if (size > 0) {
      each_row(layout, [&](std::ptrdiff_t place) {
        kernel.encode(from, row, scale, to + place);
        from += row;
      });
    }
    encoded.step[entry] = step;
    encoded.offset[entry] = half;
    encoded.is_signed[entry] = is_signed;
  }
}

}  // namespace nvmc
