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
constexpr int strip_width = 256, n_bands = 8;
constexpr int narrow = 32, wide = 4 * narrow;  ///< columns that are looked at together
constexpr int n_slots = strip_width / narrow;

/// Which of a strip's narrow columns, one bit each.
using Slots = std::uint8_t;
static_assert(n_slots == 8);
constexpr Slots all_slots = 0xFF, wide_slots = 0xF;

struct Method {
  float sigma_background, sigma_strong;
  float min_count;
  bool extended;
};

/// Bands of rows, as high as a window, of at most strip_width columns of one panel.
struct Strip {
  int panel, fast, slow, width, height;
};

template <int half>
std::vector<Strip> make_strips(const std::vector<Panel>& panels) {
  constexpr int height = n_bands * (2 * half + 1);
  std::vector<Strip> strips;
  for (std::size_t i = 0; i < panels.size(); ++i)
    for (int slow = 0; slow < panels[i].height; slow += height)
      for (int fast = 0; fast < panels[i].width; fast += strip_width)
        strips.push_back({static_cast<int>(i), fast, slow, std::min(strip_width, panels[i].width - fast),
                          std::min(height, panels[i].height - slow)});
  return strips;
}

/// One panel of a frame as every step sees it.
template <class Raw>
struct Scene {
  Frame<Raw> frame;
  Method method;
  local_noise::Map noise;
  Panel panel;
  int index;                             ///< of the panel
};

/// Where windows with n good pixels of sum x and sum of squares y hold signal. Rounding may make sums of other order
/// differ by their share `slack` of what was added.
struct Dispersion {
  float gain, variance, two_squares, min_count, slack;

  KOKKOS_INLINE_FUNCTION Dispersion(const Panel& panel, const Method& method, float slack_)
      : gain(panel.gain),
        variance(panel.variance),
        two_squares(2.0F * method.sigma_background * method.sigma_background),
        min_count(method.min_count),
        slack(slack_) {}

  KOKKOS_INLINE_FUNCTION float expected(float n, float x, float y, float factor) const {
    return (gain * (x - slack * (n + y)) + variance * n) * factor;
  }

  /// 1 or 0. Squared instead of a square root: both sides are positive where it counts.
  KOKKOS_INLINE_FUNCTION float holds_signal(float n, float x, float y, float factor) const {
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
template <class Raw, int half>
struct Screen {
  static constexpr int rows = 2 * half + 1, inner = whole_vectors(strip_width + 2 * half), outer = inner + 2 * half;
  using Columns = float[strip_width];

  KOKKOS_INLINE_FUNCTION static Slots look(const Scene<Raw>& scene, const Strip& strip, int slow) {
    const int height = scene.panel.height;
    const int last = slow + rows <= height ? slow + rows - 1 : height - 1;
    const int middle = slow + half <= last ? slow + half : last;
    Columns rules_out, first_half, second_half;
    background_near(scene, strip, middle, rules_out);
    if (!remaining(rules_out, strip.width)) return 0;
    rule_out_half(scene, strip, slow, slow, first_half);
    rule_out_half(scene, strip, last, middle, second_half);
    for (int i = 0; i < strip_width; ++i) rules_out[i] += first_half[i] * second_half[i];
    return remaining(rules_out, strip.width);
  }

  /// What a window about row `line` says of the half of the band from `slow` on, or that no pixel of it is good.
  KOKKOS_INLINE_FUNCTION static void rule_out_half(const Scene<Raw>& scene, const Strip& strip, int line, int slow,
                                                   Columns& out) {
    float good[moments][strip_width];
    background_near(scene, strip, line, out);
    sum_down<half + 1>(scene.frame, scene.panel, strip.fast, slow, good);
    for (int i = 0; i < strip_width; ++i) out[i] += good[count][i] > 0.0F ? 0.0F : 1.0F;
  }

  /// How many good pixels of row `line` within half a window of each column have windows without signal.
  KOKKOS_INLINE_FUNCTION static void background_near(const Scene<Raw>& scene, const Strip& strip, int line,
                                                     Columns& near) {
    const Panel& panel = scene.panel;
    float sums[moments][outer], slid[moments][inner], factor[inner], is_background[inner];
    sum_down<rows>(scene.frame, panel, strip.fast - 2 * half, line - half, sums);
    for (int m = 0; m < moments; ++m) slide<rows>(sums[m], slid[m]);
    scene.noise.row(scene.index, panel, strip.fast - half, line, factor);
    good_along(scene, strip.fast - half, line, is_background);
    const Dispersion dispersion(panel, scene.method, rounding);
    XFELFLOW_SIMD()
    for (int i = 0; i < inner; ++i)
      is_background[i] *= 1.0F - dispersion.holds_signal(slid[count][i], slid[sum][i], slid[squares][i], factor[i]);
    slide<rows>(is_background, near);
  }

  KOKKOS_INLINE_FUNCTION static void good_along(const Scene<Raw>& scene, int fast, int slow, float (&good)[inner]) {
    const Panel& panel = scene.panel;
    const Stretch on = on_panel(panel, fast, inner);
    for (int i = 0; i < on.first; ++i) good[i] = 0.0F;
    for (int i = on.last; i < inner; ++i) good[i] = 0.0F;
    const Raw* raw = &scene.frame.raw(panel.slow + slow, panel.fast + fast + on.first);
    const Byte* mask = &scene.frame.mask(panel.slow + slow, panel.fast + fast + on.first);
    const float lowest = panel.lowest, highest = panel.highest;
    float* out = good + on.first;
    XFELFLOW_SIMD()
    for (int i = 0; i < on.last - on.first; ++i) out[i] = trusted(raw[i], mask[i], lowest, highest).good;
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

/// The windows about every pixel of some rows of `width` columns.
template <class Raw, int half, int width>
struct Patch {
  static constexpr int rows = 2 * half + 1, inner = whole_vectors(width + 2 * half), outer = inner + 2 * half;
  static constexpr int most_rows = n_bands * rows + 2 * half;

  enum State : Byte { not_good = 0, background = 1, signal = 2 };
  struct Line {
    float slid[moments][inner], value[inner], good[inner];
  };

  /// Mark in `out` the pixels without background about them, or of a plain threshold the strong ones; return
  /// whether there are any.
  KOKKOS_INLINE_FUNCTION static bool mark(const Scene<Raw>& scene, int fast, int slow, int height,
                                          const Array<Byte**>& out) {
    const Panel& panel = scene.panel;
    Line ring[rows];
    Byte states[most_rows][inner];
    const int first = slow - half, n_states = height + 2 * half;
    for (int line = first - half; line < first + n_states + half; ++line) {
      const int newest = (line - first + half) % rows;
      read(scene, fast, line, ring[newest]);
      if (line - half >= first)
        judge(scene, fast, line - half, ring, ring[(newest + half + 1) % rows], states[line - half - first]);
    }
    const int n = fast + width < panel.width ? width : panel.width - fast;
    return scene.method.extended ? erode(panel, fast, slow, n, height, states, out)
                                 : copy(panel, fast, slow, n, height, states, out);
  }

  KOKKOS_INLINE_FUNCTION static void read(const Scene<Raw>& scene, int fast, int slow, Line& line) {
    float row[moments][outer];
    sum_down<1>(scene.frame, scene.panel, fast - 2 * half, slow, row);
    for (int i = 0; i < inner; ++i) {
      line.good[i] = row[count][i + half];
      line.value[i] = row[sum][i + half];
    }
    for (int m = 0; m < moments; ++m) slide<rows>(row[m], line.slid[m]);
  }

  KOKKOS_INLINE_FUNCTION static void judge(const Scene<Raw>& scene, int fast, int slow, const Line (&ring)[rows],
                                           const Line& own, Byte (&states)[inner]) {
    float factor[inner], result[inner];
    scene.noise.row(scene.index, scene.panel, fast - half, slow, factor);
    const Dispersion dispersion(scene.panel, scene.method, 0.0F);
    const bool plain = !scene.method.extended;
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
      result[i] = plain ? is_signal * is_strong : own.good[i] + is_signal;
    }
    for (int i = 0; i < inner; ++i) states[i] = static_cast<Byte>(static_cast<int>(result[i]));
  }

  KOKKOS_INLINE_FUNCTION static bool copy(const Panel& panel, int fast, int slow, int n, int height,
                                          const Byte (&states)[most_rows][inner], const Array<Byte**>& out) {
    Byte any = 0;
    for (int line = 0; line < height; ++line) {
      Byte* row = &out(panel.slow + slow + line, panel.fast + fast);
      for (int i = 0; i < n; ++i) row[i] = states[line + half][i + half];
      for (int i = 0; i < n; ++i) any |= row[i];
    }
    return any != 0;
  }

  KOKKOS_INLINE_FUNCTION static bool erode(const Panel& panel, int fast, int slow, int n, int height,
                                           const Byte (&states)[most_rows][inner], const Array<Byte**>& out) {
    Byte along[most_rows][width], any = 0;
    for (int line = 0; line < height + 2 * half; ++line) {
      for (int i = 0; i < width; ++i) along[line][i] = 0;
      for (int j = 0; j < rows; ++j) {
        XFELFLOW_SIMD()
        for (int i = 0; i < width; ++i) along[line][i] |= states[line][i + j];
      }
    }
    for (int line = 0; line < height; ++line) {
      Byte joined[width] = {};
      for (int r = 0; r < rows; ++r) {
        XFELFLOW_SIMD()
        for (int i = 0; i < width; ++i) joined[i] |= along[line + r][i];
      }
      for (int i = 0; i < width; ++i) joined[i] = (states[line + half][i + half] == signal) & ((joined[i] & background) == 0);
      Byte* row = &out(panel.slow + slow + line, panel.fast + fast);
      for (int i = 0; i < n; ++i) row[i] = joined[i];
      for (int i = 0; i < n; ++i) any |= joined[i];
    }
    return any != 0;
  }
};

/// First step: signal without background about it (or strong pixels, of a plain threshold), strip by strip.
template <class Raw, int half>
struct FindSignal {
  static constexpr int rows = 2 * half + 1;
  Frame<Raw> frame;
  Method method;
  local_noise::Map noise;
  Array<const Strip*> strips;
  Array<Byte**> out;
  Array<Slots**> found;                  ///< of each strip and band: where anything was marked

  KOKKOS_INLINE_FUNCTION void operator()(const int index) const {
    const Strip strip = strips(index);
    const Scene<Raw> scene{frame, method, noise, frame.panels(strip.panel), strip.panel};
    Slots looks[n_bands] = {};
    for (int band = 0; band * rows < strip.height; ++band)
      looks[band] = method.extended ? Screen<Raw, half>::look(scene, strip, strip.slow + band * rows) : on_strip(strip);
    for (int band = 0; band < n_bands; ++band) found(index, band) = 0;
    for (int first = 0; first < n_slots; first += wide / narrow) mark_group(scene, strip, index, first, looks);
  }

  KOKKOS_INLINE_FUNCTION static Slots on_strip(const Strip& strip) {
    return static_cast<Slots>(all_slots >> (n_slots - (strip.width + narrow - 1) / narrow));
  }

  /// Look at four slots together where most of them are wanted.
  KOKKOS_INLINE_FUNCTION void mark_group(const Scene<Raw>& scene, const Strip& strip, int index, int first,
                                         const Slots (&looks)[n_bands]) const {
    bool dense[n_bands];
    for (int band = 0; band < n_bands; ++band) {
      int n = 0;
      for (int slot = first; slot < first + wide / narrow; ++slot) n += looks[band] >> slot & 1;
      dense[band] = n > 2;
    }
    const Slots group = static_cast<Slots>(wide_slots << first);
    mark_runs<wide>(scene, strip, index, first, group, [&](int band) { return dense[band]; });
    for (int slot = first; slot < first + wide / narrow; ++slot)
      mark_runs<narrow>(scene, strip, index, slot, static_cast<Slots>(1U << slot),
                        [&](int band) { return !dense[band] && (looks[band] >> slot & 1); });
  }

  /// Look at the bands wanted, those one below the other at once.
  template <int width, class Wanted>
  KOKKOS_INLINE_FUNCTION void mark_runs(const Scene<Raw>& scene, const Strip& strip, int index, int slot, Slots slots,
                                        const Wanted& wanted) const {
    const int fast = strip.fast + slot * narrow;
    for (int band = 0; band < n_bands; ++band) {
      if (!wanted(band)) continue;
      const int begin = band;
      while (band < n_bands && wanted(band)) ++band;
      const int slow = begin * rows, stop = band * rows < strip.height ? band * rows : strip.height;
      if (!Patch<Raw, half, width>::mark(scene, fast, strip.slow + slow, stop - slow, out)) continue;
      for (int b = begin; b < band; ++b) found(index, b) = static_cast<Slots>(found(index, b) | slots);
    }
  }
};

/// What is done with the slots in which the first step found anything.
template <int half, class Do>
KOKKOS_INLINE_FUNCTION void for_found(const Strip& strip, const Array<const Slots**>& found, int index, const Do& act) {
  constexpr int rows = 2 * half + 1;
  for (int band = 0; band * rows < strip.height; ++band) {
    const int height = (band + 1) * rows < strip.height ? rows : strip.height - band * rows;
    for (int slot = 0; found(index, band) >> slot != 0; ++slot)
      if (found(index, band) >> slot & 1) {
        const int fast = slot * narrow, width = fast + narrow < strip.width ? narrow : strip.width - fast;
        if (width > 0) act(strip.fast + fast, strip.slow + band * rows, width, height);
      }
  }
}

/// Second step: core pixels that rise above the background around them.
template <class Raw, int half>
struct Rise {
  static constexpr int reach = half + margin, rows = 2 * reach + 1, outer = narrow + 2 * reach;
  Frame<Raw> frame;
  Method method;
  local_noise::Map noise;
  Array<const Strip*> strips;
  Array<const Slots**> found;
  Array<const Byte**> core;
  Array<Byte**> strong;

  enum { count, sum, parts };

  KOKKOS_INLINE_FUNCTION void operator()(const int index) const {
    const Strip strip = strips(index);
    const Scene<Raw> scene{frame, method, noise, frame.panels(strip.panel), strip.panel};
    for_found<half>(strip, found, index,
                    [&](int fast, int slow, int width, int height) { look(scene, fast, slow, width, height); });
  }

  KOKKOS_INLINE_FUNCTION void look(const Scene<Raw>& scene, int fast, int slow, int width, int height) const {
    float slid[2 * half + 2 * reach + 1][parts][narrow];
    for (int line = 0; line < height + 2 * reach; ++line) read(scene.panel, fast, slow + line - reach, slid[line]);
    for (int line = 0; line < height; ++line) {
      float total[parts][narrow] = {};
      for (int r = 0; r < rows; ++r)
        for (int part = 0; part < parts; ++part)
          for (int i = 0; i < narrow; ++i) total[part][i] += slid[line + r][part][i];
      judge(scene, fast, slow + line, width, total);
    }
  }

  /// Sums along a row of the good pixels that are no core.
  KOKKOS_INLINE_FUNCTION void read(const Panel& panel, int fast, int slow, float (&slid)[parts][narrow]) const {
    float row[parts][outer] = {};
    const Stretch on = slow >= 0 && slow < panel.height ? on_panel(panel, fast - reach, outer) : Stretch{0, 0};
    for (int i = on.first; i < on.last; ++i) {
      const int line = panel.slow + slow, column = panel.fast + fast - reach + i;
      const Pixel pixel = trusted(frame.raw(line, column), frame.mask(line, column), panel.lowest, panel.highest);
      const bool counts = core(line, column) == 0;
      row[count][i] = counts ? pixel.good : 0.0F;
      row[sum][i] = counts ? pixel.value : 0.0F;
    }
    for (int part = 0; part < parts; ++part) slide<rows>(row[part], slid[part]);
  }

  KOKKOS_INLINE_FUNCTION void judge(const Scene<Raw>& scene, int fast, int slow, int width,
                                    const float (&total)[parts][narrow]) const {
    const Panel& panel = scene.panel;
    float factor[narrow];
    noise.row(scene.index, panel, fast, slow, factor);
    const int line = panel.slow + slow, column = panel.fast + fast;
    for (int i = 0; i < width; ++i) {
      const float n = total[count][i], mean = n > 0.0F ? total[sum][i] / n : 0.0F;
      const float height = trusted(frame.raw(line, column + i), frame.mask(line, column + i), panel.lowest, panel.highest).value - mean;
      const float expected = (panel.gain * (mean > 0.0F ? mean : 0.0F) + panel.variance) * factor[i];
      strong(line, column + i) = (core(line, column + i) != 0) & (n > 0.0F) & (height > 0.0F) &
                                 (height * height > method.sigma_strong * method.sigma_strong * expected);
    }
  }
};

/// Third step: leave no trace in `core`.
template <int half>
struct Clear {
  Array<const Panel*> panels;
  Array<const Strip*> strips;
  Array<const Slots**> found;
  Array<Byte**> core;

  KOKKOS_INLINE_FUNCTION void operator()(const int index) const {
    const Strip strip = strips(index);
    const Panel panel = panels(strip.panel);
    for_found<half>(strip, found, index, [&](int fast, int slow, int width, int height) {
      for (int line = 0; line < height; ++line)
        for (int i = 0; i < width; ++i) core(panel.slow + slow + line, panel.fast + fast + i) = 0;
    });
  }
};

}  // namespace xfelflow::threshold
