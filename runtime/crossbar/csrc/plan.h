// What one array is and does, as the kernels for each kind of processor see it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "normals.h"

namespace nvmc {

using Size = std::size_t;

inline constexpr Size kPanel = 32;     // vectors handled together
inline constexpr Size kMostCols = 8;   // columns of a block
inline constexpr Size kMostParts = 8;  // parts of a panel that a kernel's registers hold

// How the ADCs of one row of tiles convert.
struct Converter {
  bool converts = false;
  float inverse = 1;  // codes in a unit of current
  float low = 0;
  float high = 0;
  float step = 1;  // what a code counts for
};

// What converters put out that are not ideal: of a current of x steps the level of the last threshold
// that it reaches, times its worth. Empty where all converters are ideal.
struct Curves {
  Size size = 0;                        // levels of a curve, a power of two
  std::vector<float> thresholds;        // (curves, size), ascending, the last of each not used
  std::vector<float> levels;            // likewise
  std::vector<std::uint32_t> of_column;  // (groups, width)
  std::vector<float> inverse;           // steps in a unit of current, (groups, width)
  std::vector<float> worth;             // steps of a tile in a level, likewise; empty where all are 1
  float noise = 0;                      // of a conversion, in steps

  bool empty() const { return size == 0; }
};

// What is drawn anew at every read: noise of cells, noise of conversions, and where codes are rounded.
enum Fresh : Size { kCells, kConversions, kRounding, kFresh };

// One row of tiles. Its matrices are kept as a kernel reads them: group after group, lane after
// lane, block after block of columns, and in a block row after row.
struct Tile {
  Size first_row = 0;
  Size rows = 0;
  Converter adc;
  Curves curves;
  std::vector<float> currents;
  std::vector<float> variance;  // empty where every read is the same
  bool finite = true;           // whether both are
  // What cells make of a drive x: c_0 x + c_1 x^2 + ... each. Currents have all rows once more for
  // every response, one after the other. Empty where cells are linear.
  std::vector<std::vector<double>> responses;
  // What the DAC of each row does to a code k of up to `top`, with x = k / top: adds 4 x (1 - x)
  // (bow + curl (2 x - 1)). Both (groups, rows); empty where they are linear.
  std::vector<double> bow;
  std::vector<double> curl;
  double top = 1;
  std::vector<float> at_unit;   // Currents at a drive of 1, all lanes added up: (groups, cols).
};

// Rows of a tile's matrix of currents.
inline Size depth_of(const Tile& tile) {
  return tile.rows * (tile.responses.empty() ? 1 : tile.responses.size());
}

struct Plan {
  Size groups = 0;
  Size cols = 0;                    // of a lane
  std::vector<float> coefficients;  // what each lane counts for
  float shift = 0;
  bool offsets = false;             // negative inputs are driven with an offset
  bool bipolar = false;             // rows are driven with both signs at once
  Size bits = 0;                    // of a bit-serial code; 0 where a code is one pulse
  Size slice = 1;                   // bits of a pulse of it
  bool accumulates = false;         // currents of a phase's pulses are added up, then converted
  std::vector<float> unit;          // (groups, cols)
  std::vector<Tile> tiles;
  std::vector<Size> blocks;         // columns of each block

  Size lanes() const { return coefficients.size(); }
  Size width() const { return lanes() * cols; }
  Size phases() const { return offsets || bipolar ? 1 : 2; }
  Size slices() const { return bits == 0 ? 1 : (bits + slice - 1) / slice; }
  Size pulses() const { return slices() * phases(); }
  Size conversions() const { return tiles.size() * pulses(); }
  // Whether a code's worth is left to the last multiplication.
  bool lazy() const { return tiles.size() == 1 && shift == 0 && !offsets; }
};

// Input vectors within a larger array: row r of vector v of group g of entry n is
// data[n * entry + g * group + vectors[v] + rows[r]].
struct Source {
  const float* data = nullptr;
  Size entry = 0;
  Size group = 0;
  Size entries = 0;
  std::vector<Size> vectors;
  std::vector<Size> run;  // how many vectors from each one on lie side by side
  std::vector<Size> rows;
};

// Results some of whose conversions were clipped on a row of tiles.
struct Clipped {
  std::vector<std::int64_t> numbers;  // in (entries, groups, vectors, cols)
  std::vector<float> lost;            // what these conversions count for
};

// Where results go, and what is made of them.
struct Sink {
  float* data = nullptr;
  std::ptrdiff_t entry = 0;
  std::ptrdiff_t group = 0;
  std::ptrdiff_t vector = 0;
  std::ptrdiff_t col = 0;
  const float* bias = nullptr;  // (groups, cols), or null
  std::vector<Clipped>* clipped = nullptr;  // null, or what each row of tiles clipped is added here
};

// How entries were turned into codes; one number an entry.
struct Drive {
  const float* step = nullptr;
  const float* offset = nullptr;
  const bool* is_signed = nullptr;
};

// Numbers that start where a register's do.
class Aligned {
 public:
  void resize(Size size) { rows_.resize((size + kRow - 1) / kRow); }
  bool empty() const { return rows_.empty(); }
  Size size() const { return rows_.size() * kRow; }
  float* data() { return rows_.empty() ? nullptr : rows_.data()->at; }
  const float* data() const { return rows_.empty() ? nullptr : rows_.data()->at; }

 private:
  static constexpr Size kRow = 16;
  struct alignas(64) Row {
    float at[kRow];
  };
  std::vector<Row> rows_;
};

// What clipped conversions on a row of tiles count for.
struct Beyond {
  bool some = false;  // whether a code was clipped; else the numbers mean nothing
  Aligned counted;    // (cols, kPanel)
};

// Some vectors of one group, and the room that a kernel works in.
struct Panel {
  // `drawn` says what is.
  Panel(const Plan& plan, bool counts, const std::array<bool, kFresh>& drawn);

  Size group = 0;
  Size count = 0;
  bool any_signed = false;
  struct Run {
    Size place;         // in the panel
    const float* from;  // row 0 of its first vector
    Size length;
  };
  std::vector<Run> runs;
  alignas(64) float step[kPanel] = {};
  alignas(64) float offset[kPanel] = {};
  bool is_signed[kPanel] = {};
  // Of each vector's entry, all conversions; null where nothing is drawn.
  std::array<std::array<Words*, kPanel>, kFresh> reads{};

  Aligned codes;   // of a tile, (rows, kPanel)
  Aligned pulse;   // those of a phase, likewise
  std::vector<std::int32_t> whole;  // those of a bit-serial phase, likewise
  Aligned slice;   // a slice of them, likewise
  Aligned bent;    // what DACs that are not linear put on rows, likewise
  Size depth = 0;  // rows of the largest matrix
  std::vector<std::uint32_t> every;   // its rows
  // The rows that have a bit of a slice, for each part of the panel: (parts, depth), and how many.
  std::vector<std::uint32_t> driven;
  std::array<Size, kMostParts> driven_count{};
  Aligned put;     // what cells make of a pulse: (rows of the matrix, kPanel), or nothing
  Aligned square;  // likewise
  std::array<Aligned, kFresh> drawn;  // of a conversion, (width, kPanel)
  Aligned held;     // currents of pulses that are added up, (width, kPanel), or nothing
  Aligned tile;     // codes of a tile, added up, (cols, kPanel)
  Aligned total;    // likewise, of all tiles
  std::vector<Beyond> beyond;  // of each row of tiles, or nothing

  bool draws(Fresh kind) const { return reads[kind][0] != nullptr; }

  Beyond* beyond_of(Size tile_number) {
    return beyond.empty() ? nullptr : &beyond[tile_number];
  }
};

// How the DACs turn numbers into codes.
struct Converting {
  bool whole = false;    // codes are whole numbers
  float top = 0;         // the largest code
  float half = 0;        // what is added to codes of an entry with negative inputs; 0 for none
  bool limited = false;  // whether the range is given rather than each entry's own
  float limit = 0;
};

// How one entry's numbers become codes: x (top / range), within `bound` where it is not infinite.
struct Scale {
  bool whole = false;
  float divisor = 1;  // of real codes: range / top
  double top = 1;
  double range = 1;
  float bound = 0;
};

// A kernel for one kind of processor.
struct Kernel {
  const char* name;
  Size most_cols;  // of a block
  // The smallest of some numbers and 0, and the largest; NaN where one of them is.
  void (*reach)(const float* x, Size count, float& low, float& high);
  // Numbers to codes.
  void (*encode)(const float* x, Size count, const Scale& scale, float* codes);
  // Fills `total`; a bias (groups, cols) may be null.
  void (*run)(const Plan&, const Source&, const float* bias, Panel&);
};

// The kernels that this processor can run, the best one first.
const std::vector<Kernel>& kernels();

}  // namespace nvmc
