#include "training/people/paint.h"

#include <algorithm>
#include <cmath>

#include "training/people/noise.h"
#include "training/people/palettes.h"
#include "training/people/random.h"

namespace reenact {
namespace {

// A spot in the plane of the face.
float Spot(const Vec3& p, float x, float y, float width, float height) {
  const float dx = (p.x - x) / width, dy = (p.y - y) / height;
  return Bump(dx * dx + dy * dy);
}
// The same on both sides.
float Spots(const Vec3& p, float x, float y, float width, float height) {
  const float dx = (std::abs(p.x) - x) / width, dy = (p.y - y) / height;
  return Bump(dx * dx + dy * dy);
}
// A ridge across a line at distance `d`.
float Line(float d, float width) {
  const float t = d / width;
  return Bump(2 * t * t);
}

float Power(float base, int exponent) {
  float result = 1;
  for (; exponent > 0; exponent >>= 1, base *= base) {
    if (exponent & 1) result *= base;
  }
  return result;
}

// Darkened until no channel exceeds `limit`, same hue.
Rgb Darkened(const Rgb& c, float limit) {
  return c * std::min(1.0f, limit / std::max({c.r, c.g, c.b, 1.0f}));
}

Rgb Limited(const Rgb& c, float limit) {
  return {std::min(c.r, limit), std::min(c.g, limit), std::min(c.b, limit)};
}

// Multiplies by `tint` to the degree of `share`.
Rgb Tinted(const Rgb& color, const Rgb& tint, float share) {
  return color * Mix(Rgb{1, 1, 1}, tint, share);
}

}  // namespace

Painter::Painter(const Person& person)
    : person_(person),
      light_{person.light_direction[0], person.light_direction[1], person.light_direction[2]},
      halfway_(Normalized(light_ + Vec3{0, 0, 1})) {
  const Rgb& hair = person.hair.color;
  lip_color_ = Mix(person.skin.color * Rgb{0.86f, 0.62f, 0.6f}, person.lipstick_color,
                   0.75f * person.lipstick);
  facial_hair_ = person.hair.name < kFirstDyedHair ? hair : Rgb{70, 48, 36};
  const bool pale = person.hair.name == kGreyHair || person.hair.name == kWhiteHair;
  brow_color_ = Mix(pale ? facial_hair_ * 0.85f : Darkened(facial_hair_ * 0.8f, 125),
                    person.skin.color, 0.1f);
  const Rgb& cloth = person.clothes.color;
  stripe_color_ = cloth.r + cloth.g + cloth.b < 450
                      ? Limited(cloth * 0.4f + Rgb{150, 150, 150}, 250)
                      : cloth * 0.55f;

  const Lens& lens = person.lens;
  neutral_lens_ = lens.exposure == 1 && lens.warmth == 0 && lens.vignette == 0;
  exposure_ =
      Rgb{1 + 0.08f * lens.warmth, 1 + 0.01f * lens.warmth, 1 - 0.1f * lens.warmth} * lens.exposure;

  if (person.backdrop == Backdrop::kSoftLights) {
    Random random(person.seed, 2);
    for (int i = 0; i < 5; ++i) {
      soft_lights_.push_back({random.Uniform(), random.Uniform(), random.Uniform(0.05f, 0.16f)});
    }
  }
}

Rgb Painter::Background(float x, float y) const {
  const Rgb& color = person_.background.color;
  switch (person_.backdrop) {
    case Backdrop::kPlain:
      return color;
    case Backdrop::kGradient:
      return Limited(color * (1.08f - 0.3f * y), 255);
    case Backdrop::kSoftLights:
      break;
  }
  const float dx = x - 0.5f, dy = y - 0.45f;
  Rgb result = color * (1.08f - 0.35f * std::sqrt(dx * dx + dy * dy));
  for (const SoftLight& light : soft_lights_) {
    const float lx = x - light.x, ly = y - light.y, squared = lx * lx + ly * ly;
    if (squared >= light.radius * light.radius) continue;
    const float brighter = 12 * Smoothstep(light.radius, 0.8f * light.radius, std::sqrt(squared));
    result = result + Rgb{brighter, brighter, brighter};
  }
  return Limited(result, 255);
}

Rgb Painter::Surface(const SurfacePoint& point, const std::array<IrisDisc, 2>& irises) const {
  const Coat coat = CoatOf(point, irises);
  Vec3 n = point.normal;
  // Hair and hats are open surfaces, seen from both sides.
  if (n.z < 0 && (point.material == Material::kHair || point.material == Material::kHat))
    n = n * -1;
  n.z = std::max(n.z, 0.03f);

  const float contrast = person_.light_contrast;
  const float facing = std::clamp((Dot(n, light_) + 0.3f) / 1.3f, 0.0f, 1.0f);
  float light = 0.98f - contrast + 1.12f * contrast * facing + 0.07f * n.y;
  const bool inset = point.material == Material::kLeftEye ||
                     point.material == Material::kRightEye || point.material == Material::kMouth;
  // The triangles over eyes and mouth say nothing about the eyeball's or the teeth's direction.
  if (inset) light = 0.35f + 0.62f * std::clamp(light, 0.0f, 1.1f);
  Rgb color = coat.color * light;
  for (const ExtraLight& extra : person_.extra_lights) {
    const Vec3 direction{extra.direction[0], extra.direction[1], extra.direction[2]};
    float added = extra.strength * std::max(Dot(n, direction), 0.0f);
    if (inset) added *= 0.4f;
    color =
        color + coat.color * kLightColors[static_cast<size_t>(extra.color)].color * (added / 255);
  }
  if (coat.gloss > 0) {
    const float highlight = Power(std::clamp(Dot(n, halfway_), 0.0f, 1.0f), coat.sharpness);
    const float white = 255 * coat.gloss * highlight * contrast * 1.3f;
    color = color + Rgb{white, white, white};
  }
  return color;
}

Painter::Coat Painter::CoatOf(const SurfacePoint& point,
                              const std::array<IrisDisc, 2>& irises) const {
  const Rgb& skin = person_.skin.color;
  switch (point.material) {
    case Material::kNothing:
      break;
    case Material::kSkin:
    case Material::kScalp:
      return {Skin(point), 0.16f, 22};
    case Material::kLip:
      return {Lip(point), 0.22f, 16};
    case Material::kLeftEye:
      return {Eye(point, irises[0])};
    case Material::kRightEye:
      return {Eye(point, irises[1])};
    case Material::kMouth:
      return {Mouth(point)};
    case Material::kBrow:
      return {brow_color_};
    case Material::kLidLine:
      return {Rgb{32, 22, 21} + skin * (0.12f * (1 - person_.make_up))};
    case Material::kHair: {
      const float strands = 0.5f * Noise(point.u * 1.4f, point.v * 0.1f) +
                            0.5f * Noise(point.u * 0.45f + 31, point.v * 0.05f);
      return {Hair(point, strands), std::max(0.2f * (1 + 0.6f * strands), 0.0f), 12};
    }
    case Material::kNeck:
      // In the chin's shadow.
      return {skin * (0.9f * (0.62f + 0.38f * Smoothstep(-7.5f, -12.5f, point.at.y)))};
    case Material::kEar:
      return {skin * Rgb{0.97f, 0.86f, 0.84f} * (1 - 0.16f * (1 - point.u))};
    case Material::kClothes:
      return {Clothes(point)};
    case Material::kHat:
      return {HatCloth(point)};
    case Material::kGlasses:
      return {person_.glasses_color, 0.3f, 12};
  }
  return {};
}

Rgb Painter::Skin(const SurfacePoint& point) const {
  const Vec3& p = point.at;
  Rgb color = person_.skin.color;
  if (point.material == Material::kSkin) {
    const float red = std::min(
        person_.blush * Spots(p, 4.4f, -0.6f, 1.3f, 1.1f) + 0.25f * Spot(p, 0, -1.2f, 0.9f, 0.8f),
        1.0f);
    color = Tinted(color, {1.02f, 0.8f, 0.8f}, red);
    color = Tinted(color, {0.55f, 0.42f, 0.4f},
                   0.95f * Spots(p, 0.62f, -1.98f, 0.3f, 0.17f));        // nostrils
    color = color * (1 - 0.18f * Spots(p, 1.75f, -1.35f, 0.22f, 0.6f));  // wings of the nose
    const float eye_shadow = (0.12f + 0.18f * person_.make_up) * Spots(p, 3.2f, 3.6f, 1.5f, 0.42f);
    color = color * Rgb{1 - 0.8f * eye_shadow, 1 - eye_shadow, 1 - 0.9f * eye_shadow};
    color = color * (1 - 0.1f * Spots(p, 3, 1.55f, 1.1f, 0.35f));   // under the eyes
    color = color * (1 - 0.14f * Spot(p, 0, -5.95f, 1.5f, 0.28f));  // under the lower lip
    color = WithAge(color, p);
    if (person_.freckles) {
      const float place = Spots(p, 3, -0.4f, 1.8f, 1.0f);
      if (place > 0)
        color = color *
                (1 - 0.22f * place * Smoothstep(1.1f, 1.7f, Noise(p.x * 11 + 50, p.y * 11 + 90)));
    }
  }
  color = WithBeard(color, point);
  if (person_.hair_style == HairStyle::kBuzzCut) {  // fades into the hairline
    const float hairline =
        point.material == Material::kSkin ? Smoothstep(6.6f, 7.6f, p.y) : Smoothstep(3, 6.5f, p.y);
    color = Mix(color, person_.hair.color, 0.55f * hairline);
  }
  return color;
}

Rgb Painter::WithAge(Rgb color, const Vec3& p) const {
  if (person_.age == AgeGroup::kYoung) return color;
  const bool old = person_.age == AgeGroup::kOld;
  const float from_smile_line = std::abs(p.x) - (2.1f + 0.45f * (-1.4f - p.y));
  color = color * (1 - (old ? 0.2f : 0.1f) * Line(from_smile_line, 0.16f) *
                           Smoothstep(-0.8f, -1.6f, p.y) * Smoothstep(-4.9f, -4, p.y));
  if (!old) return color;
  for (const float forehead_line : {5.9f, 6.7f}) {
    color =
        color * (1 - 0.09f * Line(p.y - forehead_line, 0.12f) * Smoothstep(4, 2, std::abs(p.x)));
  }
  return color * (1 - 0.12f * Spots(p, 3, 1.2f, 1.2f, 0.15f));
}

Rgb Painter::WithBeard(Rgb color, const SurfacePoint& point) const {
  if (person_.beard == Beard::kNone && !person_.moustache) return color;
  const Vec3& p = point.at;
  const float x = std::abs(p.x);
  const auto grow = [&](float density) {
    if (density <= 0) return;
    const float hairs = Noise(p.x * 16 + 9, p.y * 16 + 40);
    color = Mix(color, facial_hair_ * (1 + 0.1f * hairs),
                std::clamp(density * (1 + 0.12f * hairs), 0.0f, 1.0f));
  };
  if (person_.beard != Beard::kNone && point.material != Material::kLip && p.y < 1.3f) {
    float density = Smoothstep(-2.6f, -3.6f, p.y - 0.42f * std::max(x - 3, 0.0f)) *
                    Smoothstep(1.6f, 2.6f, x + 3 * std::max(-5.4f - p.y, 0.0f));
    // Sideburns run into the hair, or out on a bald head.
    const bool bald = person_.hair_style == HairStyle::kBald;
    const float sideburns = Smoothstep(5.6f, 6.4f, x) *
                            (bald ? Smoothstep(0, -3.5f, p.y) : Smoothstep(1.2f, 0.2f, p.y));
    density = std::max(density, 0.9f * sideburns) * (1 - 0.2f * Spot(p, 0, -6, 0.9f, 0.3f));
    if (point.material == Material::kScalp)
      density *= Smoothstep(1.5f, 0.5f, p.y) * Smoothstep(-6, -3, p.z);
    grow((person_.beard == Beard::kStubble ? 0.36f : 0.92f) * density);
  }
  if (person_.moustache && point.material != Material::kScalp && x < 3.5f) {
    // Wider than the mouth, with drooping ends and parted under the nose.
    const float y = p.y + 0.16f * std::pow(std::max(x - 0.6f, 0.0f), 1.6f);
    if (y < -2.6f && y > -4.1f) {
      const float shape = Smoothstep(-2.62f, -2.95f, y) * Smoothstep(-4.1f, -3.6f, y) *
                          Smoothstep(3.5f, 2.9f, x) * (1 - 0.5f * Line(x, 0.16f));
      grow(0.92f * shape * (point.material == Material::kLip ? 0.25f : 1));
    }
  }
  return color;
}

Rgb Painter::Lip(const SurfacePoint& point) const {
  const Rgb color = lip_color_ * (1 - 0.35f * Line(point.at.y + 4.27f, 0.16f));
  return person_.moustache ? WithBeard(color, point) : color;
}

Rgb Painter::Eye(const SurfacePoint& point, const IrisDisc& iris) const {
  constexpr Rgb kWhite{242, 238, 234}, kPupil{12, 10, 10}, kGlint{250, 250, 250};
  const float dx = (point.pixel_x - iris.x) / iris.radius,
              dy = (point.pixel_y - iris.y) / iris.radius;
  const float d = std::sqrt(dx * dx + dy * dy);  // 1 = the iris' rim
  const Rgb& eye = person_.eyes.color;
  Rgb color = kWhite;
  if (d < 1.06f) {
    const float inside = std::min(d, 1.0f);
    const Rgb ring = d < 0.42f   ? kPupil
                     : d > 0.82f ? eye * 0.5f
                                 : eye * (0.75f + 0.6f * inside * inside);
    color = Mix(color, ring, Smoothstep(1.06f, 0.96f, d));
  }
  const float below_lid =
      (point.pixel_y - iris.upper_lid) / std::max(iris.lower_lid - iris.upper_lid, 2.0f);
  color = color * (0.62f + 0.38f * Smoothstep(0, 0.45f, below_lid));
  const float gx = dx - std::copysign(0.32f, light_.x), gy = dy + 0.34f;
  return Mix(color, kGlint, Smoothstep(0.3f, 0.18f, std::sqrt(gx * gx + gy * gy)));
}

Rgb Painter::Mouth(const SurfacePoint& point) const {
  constexpr Rgb kThroat{84, 30, 30}, kTongue{188, 92, 92}, kTooth{240, 236, 226};
  const float below = point.u, gap = point.v;  // cm below the upper lip, height of the opening
  Rgb color =
      Mix(kThroat, kTongue,
          Smoothstep(0.5f, 0.62f, below / std::max(gap, 0.01f)) * Smoothstep(0.7f, 1.1f, gap));
  const float upper_teeth = Smoothstep(0.72f, 0.62f, below);
  const float lower_teeth = Smoothstep(0.3f, 0.22f, gap - below) * Smoothstep(1, 1.2f, gap);
  const float teeth = std::max(upper_teeth, lower_teeth) * Smoothstep(0.06f, 0.16f, gap);
  const float across = point.at.x * 1.5f;
  const bool between = std::abs(across - std::floor(across) - 0.5f) > 0.44f;
  const float shade =
      (1 - 0.25f * Smoothstep(0.5f, 2.2f, std::abs(point.at.x))) * (between ? 0.9f : 1);
  color = Mix(color, kTooth * shade, teeth);
  return color * (0.72f + 0.28f * Smoothstep(0, 0.3f, below));
}

Rgb Painter::Hair(const SurfacePoint& point, float strands) const {
  if (person_.hair_style == HairStyle::kAfro) {
    const Vec3& p = point.at;
    return person_.hair.color * (1 + 0.25f * Noise(p.x * 9, p.y * 9 + p.z * 7));
  }
  return person_.hair.color *
         (1 + (person_.hair_style == HairStyle::kBuzzCut ? 0.05f : 0.17f) * strands);
}

Rgb Painter::Exposed(const Rgb& color, float x, float y) const {
  if (neutral_lens_) return color;
  const float dx = x - 0.5f, dy = y - 0.5f;
  return Limited(color * exposure_ * (1 - person_.lens.vignette * 2 * (dx * dx + dy * dy)), 255);
}

Rgb Painter::Clothes(const SurfacePoint& point) const {
  if (person_.pattern != ClothPattern::kNone) {
    const float across = point.at.x * 0.4f, down = point.at.y * 0.4f;
    const float u = across - std::floor(across), v = down - std::floor(down);
    if (person_.pattern == ClothPattern::kChecks) {
      return Mix(person_.clothes.color, stripe_color_,
                 0.42f * static_cast<float>((u < 0.5f) + (v < 0.5f)));
    }
    // Dots in every second place of the rows between.
    const float shifted = across + (static_cast<int>(std::floor(down)) % 2 == 0 ? 0 : 0.5f);
    const float du = shifted - std::floor(shifted) - 0.5f, dv = v - 0.5f;
    return du * du + dv * dv < 0.06f ? stripe_color_ : person_.clothes.color;
  }
  const float y = point.at.y * 0.55f;
  return person_.striped_clothes && y - std::floor(y) < 0.4f ? stripe_color_
                                                             : person_.clothes.color;
}

Rgb Painter::HatCloth(const SurfacePoint& point) const {
  const Rgb& color = person_.hat_paint.color;
  if (person_.hat != Hat::kBeanie) return color;
  const float ribs = 1 + 0.1f * std::sin(point.u * 1.2f);
  return color * (ribs * (point.v < 1 ? 0.82f : 1));
}

}  // namespace reenact
