// Spots: strong pixels that touch, measured; xfel_apps/compute/components.py is the definition.
// Strong pixels are few and lie anywhere: this runs on the host.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <tuple>
#include <utility>
#include <vector>
#include <xfelflow/frames.hpp>

namespace xfelflow::components {

using namespace xfelflow::frames;

enum Mark : Byte { strong = 1, around = 2 };
enum Flag { saturated = 1, edge = 2 };
enum Column {
  panel_index, fast_px, slow_px, fast_var, slow_var, intensity, sigma, background, peak, peak_fast, peak_slow,
  n_pixels, flags, snr, n_columns
};

struct Limits {
  int min_pixels, max_pixels;  ///< strong pixels of a spot
  int margin;                  ///< how far the local background reaches beyond a spot's box
  int min_background;          ///< good pixels that it needs
};

/// Standard deviations of background above which a pixel counts for the centroid.
constexpr double centroid_sigmas = 2.5;

/// Position within a panel, and which component it belongs to.
struct Place {
  int slow, fast, owner;
  bool operator<(const Place& other) const {
    return std::tie(slow, fast, owner) < std::tie(other.slow, other.fast, other.owner);
  }
  bool same_pixel(const Place& other) const { return slow == other.slow && fast == other.fast; }
};

struct Run {
  int slow, first, last, parent;
};

/// The spots of one panel of one frame.
template <class Raw>
class PanelSpots {
 public:
  PanelSpots(const Raw* raw, const Byte* mask, Byte* marks, long stride, const Panel& panel, Limits limits)
      : raw_(raw), mask_(mask), marks_(marks), stride_(stride), panel_(panel), limits_(limits) {}

  /// Append a row of n_columns values a spot.
  void find(int index, std::vector<double>& rows) {
    find_runs();
    if (runs_.empty()) return;
    gather();
    for (std::size_t first = 0; first < pixels_.size();) {
      std::size_t last = first;
      while (last < pixels_.size() && pixels_[last].owner == pixels_[first].owner) ++last;
      measure(index, first, last, rows);
      first = last;
    }
  }

 private:
  const Raw* raw_;
  const Byte* mask_;
  Byte* marks_;
  long stride_;
  Panel panel_;
  Limits limits_;
  std::vector<Run> runs_;
  std::vector<Place> pixels_;  ///< strong pixels and those around them, by owner
  std::vector<int> sizes_;     ///< strong pixels of each owner

  long at(int slow, int fast) const { return (panel_.slow + slow) * stride_ + panel_.fast + fast; }

  bool on_panel(int slow, int fast) const {
    return slow >= 0 && fast >= 0 && slow < panel_.height && fast < panel_.width;
  }

  Pixel pixel(int slow, int fast) const {
    const long i = at(slow, fast);
    return trusted(raw_[i], mask_[i], panel_.lowest, panel_.highest);
  }

  int root(int run) {
    while (runs_[run].parent != run) run = runs_[run].parent = runs_[runs_[run].parent].parent;
    return run;
  }

  /// Runs of strong pixels along rows, joined where they touch, also at corners.
  void find_runs() {
    std::size_t above = 0;
    for (int slow = 0; slow < panel_.height; ++slow) {
      const std::size_t begin = runs_.size();
      const Byte* row = marks_ + at(slow, 0);
      for (int fast = next_strong(row, 0); fast < panel_.width; fast = next_strong(row, fast)) {
        const int first = fast;
        while (fast < panel_.width && row[fast] == strong) ++fast;
        const int own = static_cast<int>(runs_.size());
        runs_.push_back({slow, first, fast - 1, own});
        for (std::size_t other = above; other < begin; ++other)
          if (runs_[other].slow == slow - 1 && runs_[other].last >= first - 1 && runs_[other].first <= fast) {
            const int a = root(static_cast<int>(other)), b = root(own);
            runs_[std::max(a, b)].parent = std::min(a, b);
          }
      }
      above = begin;
    }
  }

  int next_strong(const Byte* row, int fast) const {
    constexpr int block = 64;
    for (; fast + block <= panel_.width; fast += block) {
      Byte any = 0;
      XFELFLOW_SIMD(reduction(| : any))
      for (int i = fast; i < fast + block; ++i) any |= row[i];
      if (any != 0) break;
    }
    std::uint64_t eight;
    for (; fast + 8 <= panel_.width; fast += 8) {
      std::memcpy(&eight, row + fast, 8);
      if (eight != 0) break;
    }
    while (fast < panel_.width && row[fast] != strong) ++fast;
    return fast;
  }

  /// List each owner's strong pixels and those around them that no other owner touches.
  void gather() {
    std::vector<Place> all;
    sizes_.assign(runs_.size(), 0);
    for (int r = 0; r < static_cast<int>(runs_.size()); ++r) {
      const Run& run = runs_[r];
      const int owner = root(r);
      sizes_[owner] += run.last - run.first + 1;
      for (int slow = run.slow - 1; slow <= run.slow + 1; ++slow)
        for (int fast = run.first - 1; fast <= run.last + 1; ++fast)
          if (on_panel(slow, fast)) {
            Byte& mark = marks_[at(slow, fast)];
            const bool own = slow == run.slow && fast >= run.first && fast <= run.last;
            if (mark == strong && !own) continue;
            if (mark != strong) mark = around;
            all.push_back({slow, fast, owner});
          }
    }
    std::sort(all.begin(), all.end());
    pixels_.clear();
    for (std::size_t i = 0; i < all.size();) {
      std::size_t j = i;
      bool shared = false;
      for (; j < all.size() && all[j].same_pixel(all[i]); ++j) shared |= all[j].owner != all[i].owner;
      if (!shared) pixels_.push_back(all[i]);
      i = j;
    }
    std::stable_sort(pixels_.begin(), pixels_.end(), [](const Place& a, const Place& b) { return a.owner < b.owner; });
  }

  struct Box {
    int slow0, slow1, fast0, fast1;
  };

  /// Good pixels around a spot that belong to none: how many, their mean [photon], and how many times larger
  /// than that of counting their variance is, at least 1.
  struct Around {
    double count, mean, excess;
  };

  double noise() const { return panel_.variance / (panel_.gain * panel_.gain); }

  /// Weight of a pixel in the centroid.
  double weigh(double photons, const Around& about) const {
    const double above = photons - about.mean;
    const double least = centroid_sigmas * std::sqrt((std::max(about.mean, 0.0) + noise()) * about.excess);
    return above > least ? std::sqrt(above) : 0.0;
  }

  Around background_around(const Box& box, int margin) const {
    double n = 0.0, sum = 0.0, squares = 0.0;
    for (int slow = std::max(box.slow0 - margin, 0); slow <= std::min(box.slow1 + margin, panel_.height - 1); ++slow)
      for (int fast = std::max(box.fast0 - margin, 0); fast <= std::min(box.fast1 + margin, panel_.width - 1); ++fast) {
        if (marks_[at(slow, fast)] != 0) continue;
        const Pixel p = pixel(slow, fast);
        n += p.good;
        sum += p.value;
        squares += static_cast<double>(p.value) * p.value;
      }
    const double mean = n > 0.0 ? sum / n / panel_.gain : 0.0;
    const double variance = n > 1.0 ? (squares / (panel_.gain * panel_.gain) - n * mean * mean) / (n - 1.0) : 0.0;
    const double expected = std::max(mean, 0.0) + noise();
    return {n, mean, expected > 0.0 ? std::max(variance / expected, 1.0) : 1.0};
  }

  void measure(int index, std::size_t first, std::size_t last, std::vector<double>& rows) const {
    const int size = sizes_[pixels_[first].owner];
    if (size < limits_.min_pixels || size > limits_.max_pixels) return;
    Box box{panel_.height, 0, panel_.width, 0};
    for (std::size_t i = first; i < last; ++i) {
      box.slow0 = std::min(box.slow0, pixels_[i].slow), box.slow1 = std::max(box.slow1, pixels_[i].slow);
      box.fast0 = std::min(box.fast0, pixels_[i].fast), box.fast1 = std::max(box.fast1, pixels_[i].fast);
    }
    Around about = background_around(box, limits_.margin);
    if (about.count < limits_.min_background) about = background_around(box, 2 * limits_.margin);
    if (about.count < limits_.min_background) return;
    double row[n_columns] = {};
    row[panel_index] = index;
    row[n_pixels] = size;
    row[background] = about.mean;
    sum_up(first, last, about, row);
    rows.insert(rows.end(), row, row + n_columns);
  }

  /// Fill in what is summed over the spot's pixels.
  void sum_up(std::size_t first, std::size_t last, const Around& about, double (&row)[n_columns]) const {
    const double level = about.mean, each = std::max(level, 0.0) + noise();
    double n = 0.0, n_core = 0.0, core = 0.0, total = 0.0, variance = 0.0, weight = 0.0, fast = 0.0, slow = 0.0;
    int flag = 0;
    row[peak] = -1.0;
    for (std::size_t i = first; i < last; ++i) {
      const Place& place = pixels_[i];
      const Pixel p = pixel(place.slow, place.fast);
      flag |= touches(place) ? edge : 0;
      if (p.good == 0.0F) continue;
      const double photons = p.value / panel_.gain, above = weigh(photons, about);
      flag |= static_cast<float>(raw_[at(place.slow, place.fast)]) > panel_.highest ? saturated : 0;
      n += 1.0;
      total += photons - level;
      variance += std::max(photons, 0.0) + noise();
      weight += above;
      fast += above * (place.fast + 0.5);
      slow += above * (place.slow + 0.5);
      if (marks_[at(place.slow, place.fast)] != strong) continue;
      n_core += 1.0;
      core += photons;
      if (photons > row[peak]) {
        row[peak] = photons;
        row[peak_fast] = place.fast;
        row[peak_slow] = place.slow;
      }
    }
    row[intensity] = total;
    row[sigma] = std::sqrt(variance + n * each * (about.excess * (1.0 + n / about.count) - 1.0));
    row[snr] = 2.0 *
               (std::sqrt(std::max(core + n_core * noise() + 0.375, 0.0)) - std::sqrt(n_core * each + 0.375)) /
               std::sqrt(about.excess);
    const bool rises = weight > 0.0;  // else the highest pixel it is
    row[fast_px] = rises ? fast / weight : row[peak_fast] + 0.5;
    row[slow_px] = rises ? slow / weight : row[peak_slow] + 0.5;
    row[flags] = flag;
    spread(first, last, about, weight, row);
  }

  bool touches(const Place& place) const {
    return place.fast == 0 || place.slow == 0 || place.fast == panel_.width - 1 || place.slow == panel_.height - 1 ||
           pixel(place.slow, place.fast).good == 0.0F;
  }

  /// Fill in the centroid's variance: of the photons counted, and of where in its pixel each one fell.
  void spread(std::size_t first, std::size_t last, const Around& about, double weight,
              double (&row)[n_columns]) const {
    double fast = 0.0, slow = 0.0, squares = 0.0;
    for (std::size_t i = first; i < last; ++i) {
      const Place& place = pixels_[i];
      const Pixel p = pixel(place.slow, place.fast);
      if (p.good == 0.0F) continue;
      const double photons = p.value / panel_.gain, above = weigh(photons, about);
      if (above == 0.0) continue;
      const double variance = (std::max(photons, 0.0) + noise()) / (4.0 * above * above);
      const double df = place.fast + 0.5 - row[fast_px], ds = place.slow + 0.5 - row[slow_px];
      fast += df * df * variance;
      slow += ds * ds * variance;
      squares += above * above;
    }
    const double scale = weight > 0.0 ? 1.0 / (weight * weight) : 1.0;
    const double share = weight > 0.0 ? squares * scale : 1.0;  // of the spot in one pixel: 1 / number of pixels
    const double within = share / 12.0;
    row[fast_var] = fast * scale + within;
    row[slow_var] = slow * scale + within;
  }
};

}  // namespace xfelflow::components
