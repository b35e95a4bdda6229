#include "training/curation/still_clip.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "training/people/random.h"

namespace reenact {
namespace {

// Places of the crop, with its middle as the origin and its side as the unit, to places of the same
// kind in the picture before: x' = a x + b y + dx, y' = c x + d y + dy.
struct Affine {
  double a = 1, b = 0, c = 0, d = 1, dx = 0, dy = 0;
};

Affine Inverse(const Affine& m) {
  const double det = m.a * m.d - m.b * m.c;
  Affine inverse{m.d / det, -m.b / det, -m.c / det, m.a / det, 0, 0};
  inverse.dx = -(inverse.a * m.dx + inverse.b * m.dy);
  inverse.dy = -(inverse.c * m.dx + inverse.d * m.dy);
  return inverse;
}

// A value that swings between -1 and 1.
struct Swing {
  explicit Swing(Random& random)
      : amplitude(random.Uniform(0.4f, 1)),
        cycles(random.Uniform(0.4f, 1.3f)),
        phase(random.Uniform()) {}
  double At(double progress) const {
    return amplitude * std::sin(2 * std::numbers::pi * (cycles * progress + phase));
  }
  double amplitude, cycles, phase;
};

// Bilinear, borders repeated.
std::array<double, 3> Sample(const Image& image, double x, double y) {
  x = std::clamp(x - 0.5, 0.0, image.width - 1.0);
  y = std::clamp(y - 0.5, 0.0, image.height - 1.0);
  const int x0 = static_cast<int>(x), y0 = static_cast<int>(y);
  const int x1 = std::min(x0 + 1, image.width - 1), y1 = std::min(y0 + 1, image.height - 1);
  const double u = x - x0, v = y - y0;
  std::array<double, 3> value{};
  for (size_t c = 0; c < 3; ++c) {
    const auto at = [&](int px, int py) {
      return static_cast<double>(image.row(py)[3 * static_cast<size_t>(px) + c]);
    };
    value[c] = (at(x0, y0) * (1 - u) + at(x1, y0) * u) * (1 - v) +
               (at(x0, y1) * (1 - u) + at(x1, y1) * u) * v;
  }
  return value;
}

}  // namespace

std::vector<StillFrame> AnimateStill(const Image& image, const Landmarks& landmarks,
                                     const CropBox& box, int num_frames, int size, uint64_t seed,
                                     const StillMotion& motion) {
  // Twice the size that is looked at, reduced by averaging, so that nothing flickers.
  const double margin = 1.6;
  const CropBox wide{box.center_x, box.center_y, box.side * margin};
  const int wide_size = static_cast<int>(std::lround(size * margin));
  const Image source = CropImage(image, wide, wide_size);
  const Landmarks in_wide = ToCrop(landmarks, wide, image.width, image.height);

  Random random(seed, 301);
  const Swing turn(random), grow(random), shear_x(random), shear_y(random), move_x(random),
      move_y(random);
  std::vector<StillFrame> frames;
  for (int i = 0; i < num_frames; ++i) {
    const double progress = num_frames > 1 ? static_cast<double>(i) / (num_frames - 1) : 0;
    const double angle = motion.rotation * turn.At(progress) * std::numbers::pi / 180;
    const double scale = 1 + motion.scale * grow.At(progress);
    const double sx = motion.shear * shear_x.At(progress), sy = motion.shear * shear_y.At(progress);
    const double c = scale * std::cos(angle), s = scale * std::sin(angle);
    const Affine forward{c - s * sy,
                         c * sx - s,
                         s + c * sy,
                         s * sx + c,
                         motion.shift * move_x.At(progress),
                         motion.shift * move_y.At(progress)};
    const Affine back = Inverse(forward);
    StillFrame frame;
    frame.image = {size, size, std::vector<uint8_t>(3 * static_cast<size_t>(size) * size)};
    for (int y = 0; y < size; ++y) {
      for (int x = 0; x < size; ++x) {
        const double px = (x + 0.5) / size - 0.5, py = (y + 0.5) / size - 0.5;
        const std::array<double, 3> color =
            Sample(source, ((back.a * px + back.b * py + back.dx) / margin + 0.5) * wide_size,
                   ((back.c * px + back.d * py + back.dy) / margin + 0.5) * wide_size);
        for (size_t channel = 0; channel < 3; ++channel) {
          frame.image.row(y)[3 * static_cast<size_t>(x) + channel] =
              static_cast<uint8_t>(std::lround(color[channel]));
        }
      }
    }
    for (size_t k = 0; k < in_wide.size(); ++k) {
      const double px = (in_wide[k].x - 0.5) * margin, py = (in_wide[k].y - 0.5) * margin;
      frame.landmarks[k] = {static_cast<float>(forward.a * px + forward.b * py + forward.dx + 0.5),
                            static_cast<float>(forward.c * px + forward.d * py + forward.dy + 0.5),
                            static_cast<float>(in_wide[k].z * margin * scale)};
    }
    frames.push_back(std::move(frame));
  }
  return frames;
}

}  // namespace reenact
