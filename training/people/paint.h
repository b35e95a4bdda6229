// The colour of every point of a person, in light, and of what is behind him.
#pragma once

#include <array>
#include <vector>

#include "training/people/part.h"
#include "training/people/people.h"

namespace reenact {

// Where an iris is in the picture, in pixels.
struct IrisDisc {
  float x = 0, y = 0, radius = 1;
  float upper_lid = 0, lower_lid = 0;  // y
};

// One point of the surface as seen.
struct SurfacePoint {
  Material material = Material::kNothing;
  Vec3 normal;  // unit length
  Vec3 at;      // Vertex::paint_at
  float u = 0, v = 0;
  float pixel_x = 0, pixel_y = 0;
};

// Thread-safe after construction.
class Painter {
 public:
  explicit Painter(const Person& person);

  // `irises`: left, right.
  Rgb Surface(const SurfacePoint& point, const std::array<IrisDisc, 2>& irises) const;

  // `x` and `y` in fractions of the picture.
  Rgb Background(float x, float y) const;

  // What the camera makes of `color` at `x`, `y`, in fractions of the picture.
  Rgb Exposed(const Rgb& color, float x, float y) const;

 private:
  struct Coat {
    Rgb color;
    float gloss = 0;  // strength of the highlight
    int sharpness = 1;
  };

  Coat CoatOf(const SurfacePoint& point, const std::array<IrisDisc, 2>& irises) const;
  Rgb Skin(const SurfacePoint& point) const;
  Rgb WithAge(Rgb color, const Vec3& at) const;
  Rgb WithBeard(Rgb color, const SurfacePoint& point) const;
  Rgb Lip(const SurfacePoint& point) const;
  Rgb Eye(const SurfacePoint& point, const IrisDisc& iris) const;
  Rgb Mouth(const SurfacePoint& point) const;
  Rgb Hair(const SurfacePoint& point, float strands) const;
  Rgb Clothes(const SurfacePoint& point) const;
  Rgb HatCloth(const SurfacePoint& point) const;

  Person person_;
  Vec3 light_, halfway_;  // halfway between light and eye, for highlights
  Rgb lip_color_, facial_hair_, brow_color_, stripe_color_;
  bool neutral_lens_ = true;  // Exposed() changes nothing
  Rgb exposure_{1, 1, 1};     // factors

  struct SoftLight {
    float x, y, radius;
  };
  std::vector<SoftLight> soft_lights_;
};

}  // namespace reenact
