// Photons of crystals' Bragg spots; xfel_apps/compute/forward_reference.py is the definition.
#pragma once

#include <Kokkos_Core.hpp>
#include <xfelflow/arrays.hpp>
#include <xfelflow/lattice_factor.hpp>
#include <xfelflow/vector_math.hpp>

namespace xfelflow::forward {

struct Vec3 {
  double x, y, z;
};

/// A processor takes blocks of pixels that vectorise, a GPU one pixel a thread.
constexpr bool on_host = Kokkos::SpaceAccessibility<Kokkos::HostSpace, Space::memory_space>::accessible;
constexpr int block_size = on_host ? 256 : 1;

/// A run of at most block_size pixels of one rectangle of one shot.
struct Block {
  int shot, rectangle, count;
  long first;   ///< flat index within the rectangle
  long output;  ///< flat index of the first pixel among all
};

struct Rectangles {
  Array<const double* [3]> origin_mm;   ///< outer corner of the first pixel
  Array<const double* [3][2]> axis_mm;  ///< one pixel along fast and slow
  Array<const long* [2]> size;          ///< pixels along fast and slow
};

/// Where a shot's part of a table begins, and the part behind it.
struct Range {
  int begin, end;
};

struct Shot {
  Range domains, channels, rays;
  double mean_inverse[3][3];  ///< mean A^-1 of the domains
  double spread;              ///< greatest |N (A^-1 - mean) q| / |q| of a domain
  double cells[3];            ///< N: cells of a coherent block
  double scale;               ///< 1 / wavelength in the middle of the channels
  double band;                ///< greatest relative difference of a channel's from it
  Vec3 polarization_normal;
  double polarization_fraction;
};

/// Tables of all shots, one shot's rows after the other's.
struct Tables {
  Array<const Shot*> shot;
  Array<const double* [3][3]> inverse;  ///< A^-1 of each domain
  Array<const double*> scale;           ///< 1 / wavelength of each channel
  Array<const double*> fluence;         ///< with r_e^2 / oversample^2 / n_domains in it
  Array<const double* [3]> direction;   ///< of each ray
  Array<const double*> weight;
};

struct StructureFactors {
  Array<const double***> value;  ///< |F|^2; |F| where it is interpolated
  int lowest[3];                 ///< Miller index of the first
};

struct Sampling {
  int oversample;
  bool polarization_at_last;  ///< take polarisation of a pixel's last sub-pixel, as nanoBragg does
  int layers;                 ///< of a thick sensor; 1 where thickness is 0
  double thickness_mm, attenuation_mm;
};

template <Shape shape, bool tricubic>
struct Photons {
  static constexpr bool is_compact = reach<shape>() > 0.0;

  Rectangles rectangles;
  Tables tables;
  StructureFactors factors;
  Array<const Block*> blocks;
  Array<double*> photons;
  Sampling sampling;

  /// Directions of a block's pixels, and what solid angle, sensor and polarisation leave of a photon.
  struct Seen {
    double x[block_size], y[block_size], z[block_size], angle[block_size], share[block_size];
  };

  KOKKOS_INLINE_FUNCTION void operator()(const int index) const {
    const Block block = blocks(index);
    const Shot& shot = tables.shot(block.shot);
    double total[block_size];
    for (int i = 0; i < block.count; ++i) total[i] = 0.0;
    const int last = sampling.oversample * sampling.oversample - 1;
    Seen seen, polarized;
    for (int layer = 0; layer < sampling.layers; ++layer) {
      if (sampling.polarization_at_last) look(block, last, layer, polarized);
      for (int step = 0; step <= last; ++step) {
        look(block, step, layer, seen);
        if (sampling.thickness_mm > 0.0) absorb(block, layer, seen);
        for (int ray = shot.rays.begin; ray < shot.rays.end; ++ray) {
          polarize(block.count, shot, ray, sampling.polarization_at_last ? polarized : seen, seen);
          scatter(block.count, shot, ray, seen, total);
        }
      }
    }
    for (int i = 0; i < block.count; ++i) photons(block.output + i) = total[i];
  }

  KOKKOS_INLINE_FUNCTION Vec3 axis(const Block& block, int side) const {
    const auto& axes = rectangles.axis_mm;
    return {axes(block.rectangle, 0, side), axes(block.rectangle, 1, side), axes(block.rectangle, 2, side)};
  }

  /// Area of a pixel as a vector that points away from the crystal.
  KOKKOS_INLINE_FUNCTION Vec3 area(const Block& block) const {
    const Vec3 a = axis(block, 0), b = axis(block, 1);
    const auto& o = rectangles.origin_mm;
    const int r = block.rectangle;
    const Vec3 n{a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
    const double sign = n.x * o(r, 0) + n.y * o(r, 1) + n.z * o(r, 2) < 0.0 ? -1.0 : 1.0;
    return {sign * n.x, sign * n.y, sign * n.z};
  }

  /// Direction and solid angle of each pixel of a block, at one sub-pixel of one layer.
  KOKKOS_INLINE_FUNCTION void look(const Block& block, int step, int layer, Seen& seen) const {
    const int r = block.rectangle, oversample = sampling.oversample;
    const Vec3 fast = axis(block, 0), slow = axis(block, 1), area = this->area(block);
    const double depth = (layer + 0.5) * sampling.thickness_mm / sampling.layers /
                         sqrt(area.x * area.x + area.y * area.y + area.z * area.z);
    const Vec3 origin{rectangles.origin_mm(r, 0) + depth * area.x, rectangles.origin_mm(r, 1) + depth * area.y,
                      rectangles.origin_mm(r, 2) + depth * area.z};
    const double width = static_cast<double>(rectangles.size(r, 0));
    const double first = static_cast<double>(block.first);
    const double f_inside = (step / oversample + 0.5) / oversample, s_inside = (step % oversample + 0.5) / oversample;
    // scalars, not Vec3: a loop with structs in it does not vectorise
    XFELFLOW_SIMD()
    for (int i = 0; i < block.count; ++i) {
      const double flat = first + i;
      // the nearest integer of (flat + 0.5) / width - 0.5 is floor(flat / width): the row
      const double row = round_nearest((flat + 0.5) / width - 0.5);
      const double f = flat - row * width + f_inside, s = row + s_inside;
      const double x = origin.x + f * fast.x + s * slow.x, y = origin.y + f * fast.y + s * slow.y,
                   z = origin.z + f * fast.z + s * slow.z;
      const double inverse = 1.0 / sqrt(x * x + y * y + z * z);
      const double facing = (x * area.x + y * area.y + z * area.z) * inverse;
      seen.x[i] = x * inverse;
      seen.y[i] = y * inverse;
      seen.z[i] = z * inverse;
      seen.angle[i] = facing * inverse * inverse;
    }
  }

  /// Leave the share of photons that the sensor absorbs in a layer.
  KOKKOS_INLINE_FUNCTION void absorb(const Block& block, int layer, Seen& seen) const {
    const Vec3 area = this->area(block);
    const double size = sqrt(area.x * area.x + area.y * area.y + area.z * area.z);
    const double top = layer * sampling.thickness_mm / sampling.layers / sampling.attenuation_mm;
    const double bottom = (layer + 1) * sampling.thickness_mm / sampling.layers / sampling.attenuation_mm;
    XFELFLOW_SIMD()
    for (int i = 0; i < block.count; ++i) {
      const double longer = size / (seen.x[i] * area.x + seen.y[i] * area.y + seen.z[i] * area.z);
      seen.angle[i] *= exp_negative(-top * longer) - exp_negative(-bottom * longer);
    }
  }

  KOKKOS_INLINE_FUNCTION void polarize(int count, const Shot& shot, int ray, const Seen& at, Seen& seen) const {
    const double p = shot.polarization_fraction;
    const Vec3 n = shot.polarization_normal;
    const double kx = tables.direction(ray, 0), ky = tables.direction(ray, 1), kz = tables.direction(ray, 2);
    XFELFLOW_SIMD()
    for (int i = 0; i < count; ++i) {
      const double normal = at.x[i] * n.x + at.y[i] * n.y + at.z[i] * n.z;
      const double forward = at.x[i] * kx + at.y[i] * ky + at.z[i] * kz;
      seen.share[i] = seen.angle[i] * ((1.0 - 2.0 * p) * (1.0 - normal * normal) + p * (1.0 + forward * forward));
    }
  }

  KOKKOS_INLINE_FUNCTION void scatter(int count, const Shot& shot, int ray, const Seen& seen, double* total) const {
    const Vec3 from{tables.direction(ray, 0), tables.direction(ray, 1), tables.direction(ray, 2)};
    double excess[block_size];
    if constexpr (is_compact) find_near(count, shot, from, seen, excess);
    for (int i = 0; i < count; ++i) {
      if (is_compact && excess[i] > 0.0) continue;
      const Vec3 towards{seen.x[i] - from.x, seen.y[i] - from.y, seen.z[i] - from.z};
      total[i] += seen.share[i] * tables.weight(ray) * channels(shot, towards);
    }
  }

  /// Find the pixels where some domain may be within reach of a Miller index in some channel: excess <= 0.
  /// Mean orientation and middle channel decide: no domain's N h differs from theirs by more than
  /// spread |q| + band |N h|.
  KOKKOS_INLINE_FUNCTION void find_near(int count, const Shot& shot, Vec3 from, const Seen& seen, double* excess) const {
    const double cell_a = shot.cells[0], cell_b = shot.cells[1], cell_c = shot.cells[2];
    const double ax = shot.mean_inverse[0][0], ay = shot.mean_inverse[0][1], az = shot.mean_inverse[0][2];
    const double bx = shot.mean_inverse[1][0], by = shot.mean_inverse[1][1], bz = shot.mean_inverse[1][2];
    const double cx = shot.mean_inverse[2][0], cy = shot.mean_inverse[2][1], cz = shot.mean_inverse[2][2];
    const double within = reach<shape>(), spread = shot.spread * (1.0 + shot.band), band = shot.band, scale = shot.scale;
    XFELFLOW_SIMD()
    for (int i = 0; i < count; ++i) {
      const double x = (seen.x[i] - from.x) * scale, y = (seen.y[i] - from.y) * scale, z = (seen.z[i] - from.z) * scale;
      const double h = ax * x + ay * y + az * z, k = bx * x + by * y + bz * z, l = cx * x + cy * y + cz * z;
      const double a = cell_a * (h - round_nearest(h)), b = cell_b * (k - round_nearest(k)),
                   c = cell_c * (l - round_nearest(l));
      const double limit = within + spread * sqrt(x * x + y * y + z * z) +
                           band * sqrt(cell_a * h * cell_a * h + cell_b * k * cell_b * k + cell_c * l * cell_c * l);
      excess[i] = a * a + b * b + c * c - limit * limit;
    }
  }

  /// Sum over the channels of fluence times the domains' |F|^2 |L|^2.
  KOKKOS_INLINE_FUNCTION double channels(const Shot& shot, Vec3 towards) const {
    double sum = 0.0;
    for (int w = shot.channels.begin; w < shot.channels.end; ++w) {
      const double scale = tables.scale(w);
      const Vec3 q{towards.x * scale, towards.y * scale, towards.z * scale};
      if (is_compact && shot.band > 0.0 && !is_near(shot, q)) continue;
      sum += tables.fluence(w) * domains(shot, q);
    }
    return sum;
  }

  KOKKOS_INLINE_FUNCTION bool is_near(const Shot& shot, Vec3 q) const {
    const double limit = reach<shape>() + shot.spread * sqrt(q.x * q.x + q.y * q.y + q.z * q.z);
    double squares = 0.0;
    for (int j = 0; j < 3; ++j) {
      const double* m = shot.mean_inverse[j];
      const double h = m[0] * q.x + m[1] * q.y + m[2] * q.z;
      const double offset = shot.cells[j] * (h - round_nearest(h));
      squares += offset * offset;
    }
    return squares <= limit * limit;
  }

  /// Sum of |F|^2 |L|^2 over the domains.
  KOKKOS_INLINE_FUNCTION double domains(const Shot& shot, Vec3 q) const {
    const double* inverse = tables.inverse.data();
    double sum = 0.0;
    XFELFLOW_SIMD(reduction(+ : sum))
    for (int d = shot.domains.begin; d < shot.domains.end; ++d) {
      const double* m = inverse + 9 * d;
      const double h = m[0] * q.x + m[1] * q.y + m[2] * q.z, k = m[3] * q.x + m[4] * q.y + m[5] * q.z,
                   l = m[6] * q.x + m[7] * q.y + m[8] * q.z;
      const double h0 = round_nearest(h), k0 = round_nearest(k), l0 = round_nearest(l);
      const double squared = lattice<shape>(shot.cells, h - h0, k - k0, l - l0);
      sum += squared * (tricubic ? between(h, k, l) : nearest(h0, k0, l0));
    }
    return sum;
  }

  /// |F|^2 of a Miller index, 0 outside the table.
  KOKKOS_INLINE_FUNCTION double nearest(double h, double k, double l) const {
    const int n_h = static_cast<int>(factors.value.extent(0)), n_k = static_cast<int>(factors.value.extent(1)),
              n_l = static_cast<int>(factors.value.extent(2));
    const int i = static_cast<int>(h) - factors.lowest[0], j = static_cast<int>(k) - factors.lowest[1],
              o = static_cast<int>(l) - factors.lowest[2];
    const bool known = (i >= 0) & (i < n_h) & (j >= 0) & (j < n_k) & (o >= 0) & (o < n_l);
    const double* values = factors.value.data();
    return known ? values[known ? (static_cast<long>(i) * n_k + j) * n_l + o : 0] : 0.0;
  }

  /// |F|^2 between the Miller indices: the cubic through the four |F| about it along h, k and l.
  KOKKOS_INLINE_FUNCTION double between(double h, double k, double l) const {
    double of_h[4], of_k[4], of_l[4];
    const double i = cubic_weights(h, of_h), j = cubic_weights(k, of_k), o = cubic_weights(l, of_l);
    double sum = 0.0;
    for (int a = 0; a < 4; ++a)
      for (int b = 0; b < 4; ++b)
        for (int c = 0; c < 4; ++c) sum += of_h[a] * of_k[b] * of_l[c] * nearest(i + a, j + b, o + c);
    return sum * sum;
  }
};

}  // namespace xfelflow::forward
