// Strong pixels by local dispersion; xfel_apps/compute/threshold.py is the definition.
//
// The extended form keeps a pixel only where every window about it holds signal. So one window in a band of rows,
// about the band's middle, rules out a column of pixels at once: one pass with a window a band (Screen) tells where
// the windows of every pixel have to be looked at (Patch). On a frame without spots that is next to nowhere.
#pragma once

#include <xfelflow/local_noise.hpp>
#include <xfelflow/windows.hpp>

namespace xfelflow::threshold {

using namespace xfelflow::windows;

constexpr int max_half = 7;              ///< largest half width of a window
constexpr int margin = 2;                ///< how much further the wide background reaches on each side
constexpr int narrow = 32, wide = 96;    ///< columns of a slot, and those that are looked at together
constexpr int strip_width = 288, n_slots = strip_width / narrow, n_groups = strip_width / wide;
constexpr int n_bands = 8;
constexpr int most_tiny = 6;             ///< small patches that cost as much as one of `wide` columns
constexpr int many_slots = 4;           ///< from here on it pays to look again

/// Which slots of a strip, one bit each.
using Slots = std::uint16_t;
constexpr Slots all_groups = (1U << n_groups) - 1, slots_of_group = (1U << wide / narrow) - 1;

struct Method {
  float sigma_background, sigma_strong;
  float min_count;
  bool extended;
};

/// Bands of rows, each as high as a window, of one panel; along them lie strips.
struct Swath {
  int panel, slow, height;
};

inline std::vector<Swath> make_swaths(const std::vector<Panel>& panels, int half) {
  const int height = n_bands * (2 * half + 1);
  std::vector<Swath> swaths;
  for (std::size_t i = 0; i < panels.size(); ++i)
    for (int slow = 0; slow < panels[i].height; slow += height)
      swaths.push_back({static_cast<int>(i), slow, std::min(height, panels[i].height - slow)});
  return swaths;
}

KOKKOS_INLINE_FUNCTION int n_strips(int width) { return (width + strip_width - 1) / strip_width; }

/// Strips of a band in the tables of what is found where.
inline int most_strips(const std::vector<Panel>& panels) {
  int most = 1;
  for (const Panel& panel : panels) most = std::max(most, n_strips(panel.width));
  return most;
}

/// At most strip_width columns of one band.
struct Strip {
  int fast, width;
};

KOKKOS_INLINE_FUNCTION Strip strip_of(const Panel& panel, int index) {
  const int fast = index * strip_width;
  return {fast, fast + strip_width < panel.width ? strip_width : panel.width - fast};
}

/// One panel as every step sees it.
struct Scene {
  Method method;
  local_noise::Map noise;
  Panel panel;
  int index;                             ///< of the panel
};

/// Where windows with n good pixels of sum x and sum of squares y hold signal. Rounding may make sums of other order
/// differ by their share `slack` of what was added.
struct Dispersion {
  float gain, variance, two_squares, min_count, slack;

  KOKKOS_FORCEINLINE_FUNCTION Dispersion(const Panel& panel, const Method& method, float slack_)
      : gain(panel.gain),
        variance(panel.variance),
        two_squares(2.0F * method.sigma_background * method.sigma_background),
        min_count(method.min_count),
        slack(slack_) {}

  KOKKOS_FORCEINLINE_FUNCTION float expected(float n, float x, float y, float factor) const {
    return (gain * (x - slack * (n + y)) + variance * n) * factor;
  }

  /// 1 or 0. Squared instead of a square root: both sides are positive where it counts.
  KOKKOS_FORCEINLINE_FUNCTION float holds_signal(float n, float x, float y, float factor) const {
    const float background = expected(n, x, y, factor);
    const float excess = n * y - x * x - background * (n - 1.0F) + slack * n * y;
    const float spread = background * background * two_squares * (n - 1.0F);
    return (n >= min_count ? 1.0F : 0.0F) * (x + slack * (n + y) >= 0.0F ? 1.0F : 0.0F) *
           (excess > 0.0F ? 1.0F : 0.0F) * (excess * excess > spread ? 1.0F : 0.0F);
  }
};

/// More than the sum of any window is off by, in either order of summing.
constexpr float rounding = 2e-5F;

/// Where windows about some rows of a band leave room for strong pixels.
template <int half>
struct Screen {
  static constexpr int rows = 2 * half + 1, inner = whole_vectors(strip_width + 2 * half);
  static constexpr int outer = whole_blocks(inner + 2 * half);
  using Columns = float[strip_width];

  /// Return the slots with columns that `rules_out` is 0 for.
  template <class Raw>
  KOKKOS_INLINE_FUNCTION static Slots look(const Frame<Raw>& frame, const Scene& scene, const Strip& strip, int slow,
                                           Columns& rules_out) {
    const int height = scene.panel.height;
    const int last = slow + rows <= height ? slow + rows - 1 : height - 1;
    const int middle = slow + half <= last ? slow + half : last;
    background_near(frame, scene, strip, middle, rules_out);
    const Slots found = remaining(rules_out, strip.width);
    int n = 0;
    for (int slot = 0; slot < n_slots; ++slot) n += found >> slot & 1;
    if (n < many_slots) return found;
    Columns first_half, second_half;
    rule_out_half(frame, scene, strip, slow, slow, first_half);
    rule_out_half(frame, scene, strip, last, middle, second_half);
    for (int i = 0; i < strip_width; ++i) rules_out[i] += first_half[i] * second_half[i];
    return remaining(rules_out, strip.width);
  }

  /// What a window about row `line` says of the half of the band from `slow` on, or that no pixel of it is good.
  template <class Raw>
  KOKKOS_INLINE_FUNCTION static void rule_out_half(const Frame<Raw>& frame, const Scene& scene, const Strip& strip,
                                                   int line, int slow, Columns& out) {
    float good[moments][whole_blocks(strip_width)];
    background_near(frame, scene, strip, line, out);
    sum_down<half + 1>(frame, scene.panel, strip.fast, slow, good);
    for (int i = 0; i < strip_width; ++i) out[i] += good[count][i] > 0.0F ? 0.0F : 1.0F;
  }

  /// How many good pixels of row `line` within half a window of each column have windows without signal; 1 where no
  /// pixel of the window's column is good.
  template <class Raw>
  KOKKOS_INLINE_FUNCTION static void background_near(const Frame<Raw>& frame, const Scene& scene, const Strip& strip,
                                                     int line, Columns& near) {
    float sums[moments][outer], own[moments][outer];
    sum_down<rows>(frame, scene.panel, strip.fast - 2 * half, line - half, sums);
    sum_down<1>(frame, scene.panel, strip.fast - half, line, own);
    judge(scene, strip, line, sums, own[count], near);
  }

  KOKKOS_INLINE_FUNCTION static void judge(const Scene& scene, const Strip& strip, int line,
                                           const float (&sums)[moments][outer], const float (&good)[outer],
                                           Columns& near) {
    const Panel& panel = scene.panel;
    float slid[moments][inner], factor[inner], is_background[inner];
    for (int m = 0; m < moments; ++m) slide<rows>(sums[m], slid[m]);
    scene.noise.row(scene.index, panel, strip.fast - half, line, factor);
    const Dispersion dispersion(panel, scene.method, rounding);
    XFELFLOW_SIMD()
    for (int i = 0; i < inner; ++i)
      is_background[i] = good[i] - good[i] * dispersion.holds_signal(slid[count][i], slid[sum][i], slid[squares][i], factor[i]);
    slide<rows>(is_background, near);
    for (int i = 0; i < strip_width; ++i) near[i] += sums[count][i + 2 * half] > 0.0F ? 0.0F : 1.0F;
  }

  /// The slots of which some column is not ruled out.
  KOKKOS_INLINE_FUNCTION static Slots remaining(const Columns& rules_out, int width) {
    Slots found = 0;
    for (int slot = 0; slot * narrow < width; ++slot) {
      const int n = width - slot * narrow < narrow ? width - slot * narrow : narrow;
      float least = 1.0F;
      XFELFLOW_SIMD(reduction(min : least))
      for (int i = slot * narrow; i < slot * narrow + n; ++i) least = rules_out[i] < least ? rules_out[i] : least;
      if (least == 0.0F) found = static_cast<Slots>(found | (1U << slot));
    }
    return found;
  }
};

/// The windows about every pixel of some bands of `width` columns.
template <int half, int width, int bands>
struct Patch {
  static constexpr int rows = 2 * half + 1, inner = whole_vectors(width + 2 * half);
  static constexpr int outer = whole_blocks(inner + 2 * half);
  static constexpr int most_rows = bands * rows + 2 * half;

  enum State : Byte { not_good = 0, background = 1, signal = 2 };
  using States = Byte[most_rows][inner + 2 * half];
  struct Line {
    float slid[moments][inner], value[inner], good[inner];
  };

  /// Mark in the first `n` columns of `out` the pixels without background about them, or of a plain threshold the
  /// strong ones; return whether there are any.
  template <class Raw>
  KOKKOS_INLINE_FUNCTION static bool mark(const Frame<Raw>& frame, const Scene& scene, int fast, int slow, int n, int height,
                                          const Array<Byte**>& out) {
    Line ring[rows];
    States states;
    if (bands == 1) prefetch(frame, scene.panel, fast - 2 * half, slow + height, width + 4 * half, 2 * half);
    const int first = slow - half, n_states = height + 2 * half;
    for (int line = first - half; line < first + n_states + half; ++line) {
      const int newest = (line - first + half) % rows;
      read(frame, scene.panel, fast, line, ring[newest]);
      if (line - half >= first)
        judge(scene, fast, line - half, ring, ring[(newest + half + 1) % rows], states[line - half - first]);
    }
    return scene.method.extended ? erode(scene.panel, fast, slow, n, height, states, out)
                                 : copy(scene.panel, fast, slow, n, height, states, out);
  }

  template <class Raw>
  KOKKOS_INLINE_FUNCTION static void read(const Frame<Raw>& frame, const Panel& panel, int fast, int slow, Line& line) {
    float row[moments][outer];
    sum_down<1>(frame, panel, fast - 2 * half, slow, row);
    for (int i = 0; i < inner; ++i) {
      line.good[i] = row[count][i + half];
      line.value[i] = row[sum][i + half];
    }
    for (int m = 0; m < moments; ++m) slide<rows>(row[m], line.slid[m]);
  }

  KOKKOS_INLINE_FUNCTION static void judge(const Scene& scene, int fast, int slow, const Line (&ring)[rows],
                                           const Line& own, Byte (&states)[inner + 2 * half]) {
    float factor[inner], result[inner];
    scene.noise.row(scene.index, scene.panel, fast - half, slow, factor);
    const Dispersion dispersion(scene.panel, scene.method, 0.0F);
    const float plain = scene.method.extended ? 0.0F : 1.0F;
    const float strong_square = scene.method.sigma_strong * scene.method.sigma_strong;
    XFELFLOW_SIMD()
    for (int i = 0; i < inner; ++i) {
      float n = 0.0F, x = 0.0F, y = 0.0F;
      for (int r = 0; r < rows; ++r) {
        n += ring[r].slid[count][i];
        x += ring[r].slid[sum][i];
        y += ring[r].slid[squares][i];
      }
      const float height = n * own.value[i] - x;
      const float noise = strong_square * n * dispersion.expected(n, x, y, factor[i]);
      const float is_strong = (height > 0.0F ? 1.0F : 0.0F) * (height * height > noise ? 1.0F : 0.0F);
      const float is_signal = own.good[i] * dispersion.holds_signal(n, x, y, factor[i]);
      result[i] = plain > 0.0F ? is_signal * is_strong : own.good[i] + is_signal;
    }
    for (int i = 0; i < inner; ++i) states[i] = static_cast<Byte>(static_cast<int>(result[i]));
    for (int i = inner; i < inner + 2 * half; ++i) states[i] = not_good;
  }

  KOKKOS_INLINE_FUNCTION static bool copy(const Panel& panel, int fast, int slow, int n, int height,
                                          const States& states, const Array<Byte**>& out) {
    Byte any = 0;
    for (int line = 0; line < height; ++line) {
      Byte* row = &out(panel.slow + slow + line, panel.fast + fast);
      for (int i = 0; i < n; ++i) row[i] = states[line + half][i + half];
      for (int i = 0; i < n; ++i) any |= row[i];
    }
    return any != 0;
  }

  KOKKOS_INLINE_FUNCTION static bool erode(const Panel& panel, int fast, int slow, int n, int height,
                                           const States& states, const Array<Byte**>& out) {
    Byte along[most_rows][inner], any = 0;
    for (int line = 0; line < height + 2 * half; ++line) {
      for (int i = 0; i < inner; ++i) along[line][i] = 0;
      for (int j = 0; j < rows; ++j) {
        XFELFLOW_SIMD()
        for (int i = 0; i < inner; ++i) along[line][i] |= states[line][i + j];
      }
    }
    for (int line = 0; line < height; ++line) {
      Byte core[inner] = {};
      for (int r = 0; r < rows; ++r) {
        XFELFLOW_SIMD()
        for (int i = 0; i < inner; ++i) core[i] |= along[line + r][i];
      }
      XFELFLOW_SIMD()
      for (int i = 0; i < inner; ++i)
        core[i] = static_cast<Byte>((states[line + half][i + half] == signal) & ((core[i] & background) == 0));
      Byte* row = &out(panel.slow + slow + line, panel.fast + fast);
      for (int i = 0; i < n; ++i) row[i] = core[i];
      for (int i = 0; i < n; ++i) any |= core[i];
    }
    return any != 0;
  }
};

/// First step: signal without background about it (or strong pixels, of a plain threshold), swath by swath.
template <class Raw, int half>
struct FindSignal {
  static constexpr int rows = 2 * half + 1;
  static constexpr int tiny = whole_vectors(2 * half + 10) - 2 * half;  ///< columns of the smallest patch
  Frame<Raw> frame;
  Method method;
  local_noise::Map noise;
  Array<const Swath*> swaths;
  Array<Byte**> out;
  Array<Slots***> found;                 ///< of each swath, band and strip: where anything was marked
  Array<Slots***> dense;                 ///< and which groups of slots are looked at as a whole

  KOKKOS_INLINE_FUNCTION void operator()(const int index) const {
    const Swath swath = swaths(index);
    const Scene scene{method, noise, frame.panels(swath.panel), swath.panel};
    for (int band = 0; band * rows < swath.height; ++band)
      for (int strip = 0; strip < n_strips(scene.panel.width); ++strip) {
        if (method.extended)
          look(scene, index, band, strip);
        else
          dense(index, band, strip) = all_groups;
      }
    for (int strip = 0; strip < n_strips(scene.panel.width); ++strip)
      for (int group = 0; group < n_groups; ++group) mark_dense(scene, index, strip, group);
  }

  KOKKOS_INLINE_FUNCTION void look(const Scene& scene, int index, int band, int number) const {
    typename Screen<half>::Columns rules_out;
    const Strip strip = strip_of(scene.panel, number);
    const int slow = swaths(index).slow + band * rows;
    const Slots slots = Screen<half>::look(frame, scene, strip, slow, rules_out);
    for (int group = 0; group < n_groups; ++group) {
      if ((slots >> group * (wide / narrow) & slots_of_group) == 0) continue;
      int starts[most_tiny], n = 0;
      const int stop = (group + 1) * wide < strip.width ? (group + 1) * wide : strip.width;
      for (int i = group * wide; i < stop; ++i) {
        if (rules_out[i] != 0.0F) continue;
        if (n < most_tiny) starts[n] = i;
        ++n;
        i += tiny - 1;
      }
      if (n > most_tiny)
        dense(index, band, number) = static_cast<Slots>(dense(index, band, number) | (1U << group));
      else
        for (int i = 0; i < n; ++i) mark_tiny(scene, index, band, number, starts[i]);
    }
  }

  KOKKOS_INLINE_FUNCTION void mark_tiny(const Scene& scene, int index, int band, int number, int start) const {
    const Strip strip = strip_of(scene.panel, number);
    const int n = start + tiny < strip.width ? tiny : strip.width - start;
    const int slow = band * rows, height = swaths(index).height - slow;
    if (!Patch<half, tiny, 1>::mark(frame, scene, strip.fast + start, swaths(index).slow + slow, n,
                                         height < rows ? height : rows, out))
      return;
    Slots& mine = found(index, band, number);
    mine = static_cast<Slots>(mine | (1U << start / narrow) | (1U << (start + n - 1) / narrow));
  }

  /// Look at a group of slots in all the bands where it is dense, those one below the other at once.
  KOKKOS_INLINE_FUNCTION void mark_dense(const Scene& scene, int index, int number, int group) const {
    const Swath swath = swaths(index);
    const Strip strip = strip_of(scene.panel, number);
    const auto wanted = [&](int band) { return band < n_bands && (dense(index, band, number) >> group & 1) != 0; };
    const int fast = group * wide, n = fast + wide < strip.width ? wide : strip.width - fast;
    const Slots slots = static_cast<Slots>(slots_of_group << group * (wide / narrow));
    for (int band = 0; band < n_bands && n > 0; ++band) {
      if (!wanted(band)) continue;
      const int begin = band;
      while (wanted(band)) ++band;
      const int slow = begin * rows, stop = band * rows < swath.height ? band * rows : swath.height;
      if (slow >= stop || !Patch<half, wide, n_bands>::mark(frame, scene, strip.fast + fast, swath.slow + slow, n,
                                                                 stop - slow, out))
        continue;
      for (int b = begin; b < band; ++b) found(index, b, number) = static_cast<Slots>(found(index, b, number) | slots);
    }
  }
};

/// What is done with the slots in which the first step found anything.
template <int half, class Do>
KOKKOS_INLINE_FUNCTION void for_found(const Swath& swath, const Panel& panel, const Array<const Slots***>& found,
                                      int index, const Do& act) {
  constexpr int rows = 2 * half + 1;
  for (int band = 0; band * rows < swath.height; ++band) {
    const int slow = band * rows, height = slow + rows < swath.height ? rows : swath.height - slow;
    for (int number = 0; number < n_strips(panel.width); ++number) {
      const Strip strip = strip_of(panel, number);
      const Slots slots = found(index, band, number);
      for (int slot = 0; slots >> slot != 0 && slot * narrow < strip.width; ++slot) {
        if ((slots >> slot & 1) == 0) continue;
        const int fast = slot * narrow, width = fast + narrow < strip.width ? narrow : strip.width - fast;
        act(strip.fast + fast, swath.slow + slow, width, height);
      }
    }
  }
}

/// Core pixels of a slot against the background around them.
template <int half>
struct Surroundings {
  static constexpr int reach = half + margin, rows = 2 * reach + 1, outer = whole_blocks(narrow + 2 * reach);

  /// Of each column of a slot: the background about it along the row, and what the pixel itself holds.
  struct Line {
    float good[narrow], total[narrow], value[narrow];
    Byte is_core[narrow];
  };
  using Lines = Line[2 * half + rows];

  /// Sums along a row of the good pixels that are no core; uses up the row.
  KOKKOS_INLINE_FUNCTION static void sum_along(float (&row)[moments][outer], const Byte (&is_core)[outer], Line& line) {
    for (int i = 0; i < narrow; ++i) line.value[i] = row[sum][i + reach];
    for (int i = 0; i < narrow; ++i) line.is_core[i] = is_core[i + reach];
    XFELFLOW_SIMD()
    for (int i = 0; i < outer; ++i) {
      row[count][i] = is_core[i] == 0 ? row[count][i] : 0.0F;
      row[sum][i] = is_core[i] == 0 ? row[sum][i] : 0.0F;
    }
    slide<rows>(row[count], line.good);
    slide<rows>(row[sum], line.total);
  }
  /// Which core pixels of line `first` rise, 1 or 0.
  KOKKOS_INLINE_FUNCTION static void judge(const Scene& scene, int fast, int slow, const Lines& lines, int first,
                                           Byte (&marks)[narrow]) {
    float factor[narrow], rises[narrow];
    scene.noise.row(scene.index, scene.panel, fast, slow, factor);
    const float gain = scene.panel.gain, variance = scene.panel.variance;
    const float sigmas_square = scene.method.sigma_strong * scene.method.sigma_strong;
    const Line& own = lines[first + reach];
    XFELFLOW_SIMD()
    for (int i = 0; i < narrow; ++i) {
      float n = 0.0F, x = 0.0F;
      for (int r = 0; r < rows; ++r) {
        n += lines[first + r].good[i];
        x += lines[first + r].total[i];
      }
      const float mean = x / (n > 0.0F ? n : 1.0F), height = own.value[i] - mean;
      const float expected = (gain * (mean > 0.0F ? mean : 0.0F) + variance) * factor[i];
      rises[i] = (n > 0.0F ? 1.0F : 0.0F) * (height > 0.0F ? 1.0F : 0.0F) *
                 (height * height > sigmas_square * expected ? 1.0F : 0.0F);
    }
    for (int i = 0; i < narrow; ++i) marks[i] = own.is_core[i] & static_cast<Byte>(static_cast<int>(rises[i]));
  }
};

/// Second step: core pixels that rise above the background around them.
template <class Raw, int half>
struct Rise {
  using About = Surroundings<half>;
  static constexpr int reach = About::reach;
  Frame<Raw> frame;
  Method method;
  local_noise::Map noise;
  Array<const Swath*> swaths;
  Array<const Slots***> found;
  Array<const Byte**> core;
  Array<Byte**> strong;

  KOKKOS_INLINE_FUNCTION void operator()(const int index) const {
    const Swath swath = swaths(index);
    const Scene scene{method, noise, frame.panels(swath.panel), swath.panel};
    for_found<half>(swath, scene.panel, found, index, [&](int fast, int slow, int width, int height) {
      const Stretch rows = with_core(scene.panel, fast, slow, width, height);
      mark(scene, fast, slow + rows.first, width, rows.last - rows.first);
    });
  }

  /// The rows of a slot from the first to behind the last one with a core pixel.
  KOKKOS_INLINE_FUNCTION Stretch with_core(const Panel& panel, int fast, int slow, int width, int height) const {
    Stretch rows{height, 0};
    for (int line = 0; line < height; ++line) {
      const Byte* row = &core(panel.slow + slow + line, panel.fast + fast);
      Byte any = 0;
      for (int i = 0; i < width; ++i) any |= row[i];
      if (any == 0) continue;
      rows.first = line < rows.first ? line : rows.first;
      rows.last = line + 1;
    }
    return rows.last > 0 ? rows : Stretch{0, 0};
  }

  KOKKOS_INLINE_FUNCTION void mark(const Scene& scene, int fast, int slow, int width, int height) const {
    if (height == 0) return;
    prefetch(frame, scene.panel, fast - reach, slow - reach, narrow + 2 * reach, height + 2 * reach);
    typename About::Lines lines;
    for (int line = 0; line < height + 2 * reach; ++line) read(scene.panel, fast, slow + line - reach, lines[line]);
    for (int line = 0; line < height; ++line) {
      Byte marks[narrow];
      About::judge(scene, fast, slow + line, lines, line, marks);
      Byte* out = &strong(scene.panel.slow + slow + line, scene.panel.fast + fast);
      for (int i = 0; i < width; ++i) out[i] = marks[i];
    }
  }

  KOKKOS_INLINE_FUNCTION void read(const Panel& panel, int fast, int slow, typename About::Line& line) const {
    constexpr int outer = About::outer;
    float row[moments][outer];
    Byte is_core[outer] = {};
    sum_down<1>(frame, panel, fast - reach, slow, row);
    const Stretch on = slow >= 0 && slow < panel.height ? on_panel(panel, fast - reach, outer) : Stretch{0, 0};
    for (int i = on.first; i < on.last; ++i) is_core[i] = core(panel.slow + slow, panel.fast + fast - reach + i);
    About::sum_along(row, is_core, line);
  }
};

/// Third step: leave no trace in `core`.
template <int half>
struct Clear {
  Array<const Panel*> panels;
  Array<const Swath*> swaths;
  Array<const Slots***> found;
  Array<Byte**> core;

  KOKKOS_INLINE_FUNCTION void operator()(const int index) const {
    const Swath swath = swaths(index);
    const Panel panel = panels(swath.panel);
    for_found<half>(swath, panel, found, index, [&](int fast, int slow, int width, int height) {
      for (int line = 0; line < height; ++line)
        for (int i = 0; i < width; ++i) core(panel.slow + slow + line, panel.fast + fast + i) = 0;
    });
  }
};

}  // namespace xfelflow::threshold
