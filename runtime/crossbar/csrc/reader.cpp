#include "reader.h"

#include <algorithm>
#include <cmath>

namespace nvmc {
namespace {

constexpr Size kTogether = 512;  // vectors of entries that are read together, at least

// Columns in blocks of about equal size, so that none is much slower than the others.
std::vector<Size> blocks_of(Size cols, Size most) {
  const Size count = (cols + most - 1) / most;
  std::vector<Size> blocks;
  for (Size block = 0; block < count; ++block) {
    blocks.push_back(cols * (block + 1) / count - cols * block / count);
  }
  return blocks;
}

// One panel after the other of the vectors of some entries.
class Walk {
 public:
  Walk(const Plan& plan, const Source& source, const Drive& drive, const Sink& sink,
       const std::array<bool, kFresh>& drawn)
      : plan_(plan),
        source_(source),
        drive_(drive),
        sink_(sink),
        panel_(plan, sink.clipped != nullptr, drawn) {}

  // Points `panel` at the `count` vectors from number `start` of the entries from `first` on.
  Panel& place(Size group, Size first, Size start, Size count) {
    const Size vectors = source_.vectors.size();
    panel_.group = group;
    panel_.count = count;
    panel_.any_signed = false;
    panel_.runs.clear();
    results_.clear();
    Size entry = first + start / vectors;
    Size vector = start % vectors;
    for (Size p = 0; p < count;) {
      const Size length = std::min(source_.run[vector], count - p);
      const float* from = source_.data + entry * source_.entry + group * source_.group;
      panel_.runs.push_back({p, from + source_.vectors[vector], length});
      const std::ptrdiff_t to = static_cast<std::ptrdiff_t>(entry) * sink_.entry +
                                static_cast<std::ptrdiff_t>(vector) * sink_.vector;
      if (vector == 0 || p == 0) {
        const Size before = (entry * plan_.groups + group) * vectors;
        results_.push_back({p, to, before + vector, length});
      } else {
        results_.back().length += length;
      }
      panel_.any_signed = panel_.any_signed || drive_.is_signed[entry];
      std::fill_n(panel_.step + p, length, drive_.step[entry]);
      std::fill_n(panel_.offset + p, length, drive_.offset[entry]);
      std::fill_n(panel_.is_signed + p, length, drive_.is_signed[entry]);
      p += length;
      vector += length;
      if (vector == vectors) {
        vector = 0;
        ++entry;
      }
    }
    return panel_;
  }

  // The panel's results, into the sink.
  void write() {
    const std::ptrdiff_t group = static_cast<std::ptrdiff_t>(panel_.group) * sink_.group;
    for (const Result& result : results_) {
      float* to = sink_.data + group + result.to;
      const float* from = panel_.total.data() + result.place;
      sink_.vector == 1 ? put_columns(from, result.length, to) : put_vectors(from, result.length, to);
    }
    for (Size number = 0; number < panel_.beyond.size(); ++number) {
      if (panel_.beyond[number].some) note(panel_.beyond[number], (*sink_.clipped)[number]);
    }
  }

 private:
  // Vectors of one entry, side by side in the panel and in the sink.
  struct Result {
    Size place;
    std::ptrdiff_t to;
    Size number;  // of the first, in (entries, groups, vectors)
    Size length;
  };

  // Which results a row of tiles clipped.
  void note(const Beyond& beyond, Clipped& clipped) const {
    for (const Result& result : results_) {
      for (Size at = 0; at < result.length * plan_.cols; ++at) {
        const Size c = at % plan_.cols;
        const float lost = beyond.counted.data()[c * kPanel + result.place + at / plan_.cols];
        if (lost == 0.0f) continue;
        clipped.numbers.push_back(static_cast<std::int64_t>(result.number * plan_.cols + at));
        clipped.lost.push_back(lost);
      }
    }
  }

  // Some vectors' results (cols, kPanel), column by column, where vectors lie side by side.
  void put_columns(const float* from, Size count, float* to) const {
    for (Size c = 0; c < plan_.cols; ++c) {
      std::copy_n(from + c * kPanel, count, to + static_cast<std::ptrdiff_t>(c) * sink_.col);
    }
  }

  // Vector by vector, as they lie where columns lie side by side.
  void put_vectors(const float* from, Size count, float* to) const {
    const Size cols = plan_.cols;
    const std::ptrdiff_t col = sink_.col;
    const std::ptrdiff_t vector = sink_.vector;
    for (Size p = 0; p < count; ++p, to += vector) {
      float* at = to;
      for (Size c = 0; c < cols; ++c, at += col) *at = from[c * kPanel + p];
    }
  }

  const Plan& plan_;
  const Source& source_;
  const Drive& drive_;
  const Sink& sink_;
  Panel panel_;
  std::vector<Result> results_;
};

// What is drawn: where there is a key, and some row of tiles that asks for it.
std::array<bool, kFresh> drawn_of(const Plan& plan, const Reads& reads) {
  std::array<bool, kFresh> drawn{};
  for (Size kind = 0; kind < kFresh; ++kind) {
    drawn[kind] = reads.keys[kind].has_value() &&
                  std::any_of(plan.tiles.begin(), plan.tiles.end(), [kind](const Tile& tile) {
                    return kind == kCells ? !tile.variance.empty() : !tile.curves.empty();
                  });
  }
  return drawn;
}

}  // namespace

Reader::Reader(Plan plan, const Kernel& kernel) : plan_(std::move(plan)), kernel_(&kernel) {
  plan_.blocks = blocks_of(plan_.cols, kernel.most_cols);
}

std::vector<float> Reader::packed(const float* matrices, Size rows) const {
  std::vector<float> out;
  out.reserve(plan_.groups * rows * plan_.width());
  for (Size group = 0; group < plan_.groups; ++group) {
    for (Size lane = 0; lane < plan_.lanes(); ++lane) {
      Size col = lane * plan_.cols;
      for (const Size cols : plan_.blocks) {
        for (Size row = 0; row < rows; ++row) {
          const float* from = matrices + (group * rows + row) * plan_.width() + col;
          out.insert(out.end(), from, from + cols);
        }
        col += cols;
      }
    }
  }
  return out;
}

void Reader::add(Size first_row, Size rows, Converter adc, Curves curves, const float* currents,
                 const float* variance, const float* at_unit,
                 std::vector<std::vector<double>> responses) {
  Tile tile;
  tile.first_row = first_row;
  tile.rows = rows;
  tile.adc = adc;
  tile.curves = std::move(curves);
  tile.responses = std::move(responses);
  tile.currents = packed(currents, depth_of(tile));
  if (variance != nullptr) tile.variance = packed(variance, rows);
  const auto is_finite = [](float value) { return std::isfinite(value); };
  tile.finite = std::all_of(tile.currents.begin(), tile.currents.end(), is_finite) &&
                std::all_of(tile.variance.begin(), tile.variance.end(), is_finite);
  tile.at_unit.assign(at_unit, at_unit + plan_.groups * plan_.cols);
  plan_.tiles.push_back(std::move(tile));
}

void Reader::bend(const double* bow, const double* curl, double top) {
  Tile& tile = plan_.tiles.back();
  const Size size = plan_.groups * tile.rows;
  tile.bow.assign(bow, bow + size);
  tile.curl.assign(curl, curl + size);
  tile.top = top;
}

void Reader::read(const Source& source, const Drive& drive, const Reads& reads,
                  const Sink& sink) const {
  const Size vectors = source.vectors.size();
  if (vectors == 0) return;
  const std::array<bool, kFresh> drawn = drawn_of(plan_, reads);
  Walk walk(plan_, source, drive, sink, drawn);
  const Size together = std::max<Size>(1, kTogether / vectors);
  const Size conversions = plan_.conversions();
  std::array<std::vector<Words>, kFresh> streams;
  for (Size first = 0; first < source.entries; first += together) {
    const Size entries = std::min(together, source.entries - first);
    for (Size kind = 0; kind < kFresh; ++kind) {
      if (!drawn[kind]) continue;
      streams[kind].clear();
      for (Size entry = first; entry < first + entries; ++entry) {
        for (Size conversion = 0; conversion < conversions; ++conversion) {
          streams[kind].emplace_back(
              Block{0, conversion, static_cast<std::uint64_t>(reads.parts[entry]),
                    static_cast<std::uint64_t>(reads.entries[entry])},
              *reads.keys[kind], plan_.groups * vectors * plan_.width());
        }
      }
    }
    // An entry's numbers fill (groups, vectors, width), so groups come before vectors.
    for (Size group = 0; group < plan_.groups; ++group) {
      for (Size start = 0; start < entries * vectors; start += kPanel) {
        const Size count = std::min(kPanel, entries * vectors - start);
        Panel& panel = walk.place(group, first, start, count);
        for (Size kind = 0; kind < kFresh; ++kind) {
          for (Size p = 0; drawn[kind] && p < count; ++p) {
            panel.reads[kind][p] = &streams[kind][(start + p) / vectors * conversions];
          }
        }
        kernel_->run(plan_, source, sink.bias, panel);
        walk.write();
      }
    }
  }
}

}  // namespace nvmc
