#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "training/people/hair.h"
#include "training/people/head_parts.h"
#include "training/people/paint.h"
#include "training/people/part.h"
#include "training/people/people.h"
#include "training/people/raster.h"
#include "training/people/wear.h"

namespace reenact {
namespace {

constexpr float kOvalHeight = 17.7f;  // cm, of the average face
constexpr float kOvalShare = 0.58f;   // of the picture, were the face as far away as the origin
constexpr Vec3 kPivot{0, -3, -3};     // the head turns about it

// Puts points of the person into the picture.
class Camera {
 public:
  Camera(const FaceState& state, const Lens& lens, int side)
      : distance_(lens.distance),
        head_(RotationFor(state.pose)),
        // Shoulders follow the head a quarter of the way.
        shoulders_(RotationFor(
            {0.25f * state.pose.yaw, 0.15f * state.pose.pitch, 0.25f * state.pose.roll})),
        pixels_per_cm_(state.view.scale * kOvalShare * static_cast<float>(side) / kOvalHeight),
        center_x_(static_cast<float>(side) * (0.5f + state.view.shift_x)),
        center_y_(static_cast<float>(side) * (0.51f + state.view.shift_y)) {}

  Vec3 Turned(const Vec3& p, float with_head) const {
    return Rotated(p - kPivot, with_head) + kPivot;
  }

  Vec3 Rotated(const Vec3& v, float with_head) const {
    if (with_head >= 1) return head_(v);
    if (with_head <= 0) return shoulders_(v);
    return Mix(shoulders_(v), head_(v), with_head);
  }

  // `turned` cm to pixels; z = depth, smaller is nearer.
  Vec3 Projected(const Vec3& turned) const {
    const float scale = pixels_per_cm_ * distance_ / (distance_ - turned.z);
    return {center_x_ + turned.x * scale, center_y_ - (turned.y + 0.6f) * scale, -turned.z};
  }

  float pixels_per_cm() const { return pixels_per_cm_; }
  float distance() const { return distance_; }

 private:
  float distance_;  // cm
  Rotation head_, shoulders_;
  float pixels_per_cm_, center_x_, center_y_;
};

struct PlacedPart {
  std::vector<Vec3> projected;
  std::vector<Vec3> normals;  // turned
};

PlacedPart Place(const Part& part, const Camera& camera) {
  PlacedPart placed;
  placed.projected.reserve(part.vertices.size());
  placed.normals.reserve(part.vertices.size());
  for (const Vertex& vertex : part.vertices) {
    placed.projected.push_back(camera.Projected(camera.Turned(vertex.position, vertex.with_head)));
    placed.normals.push_back(camera.Rotated(vertex.normal, vertex.with_head));
  }
  return placed;
}

Landmarks ExactLandmarks(const FaceVertices& face, const Camera& camera, int side) {
  std::array<Vec3, kNumLandmarks> turned;
  double sum_z = 0;
  for (size_t i = 0; i < face.size(); ++i) {
    turned[i] = camera.Turned(face[i], 1);
    sum_z += turned[i].z;
  }
  const float mean_z = static_cast<float>(sum_z / kNumLandmarks),
              unit = 1 / static_cast<float>(side);
  Landmarks landmarks;
  for (size_t i = 0; i < face.size(); ++i) {
    const Vec3 p = camera.Projected(turned[i]);
    landmarks[i] = {p.x * unit, p.y * unit, (mean_z - turned[i].z) * camera.pixels_per_cm() * unit};
  }
  return landmarks;
}

IrisDisc IrisFrom(const Landmarks& landmarks, size_t center, size_t upper_lid, size_t lower_lid,
                  int side) {
  const float pixels = static_cast<float>(side);
  const auto half = [&](size_t a, size_t b) {
    return std::hypot(landmarks[a].x - landmarks[b].x, landmarks[a].y - landmarks[b].y) * pixels /
           2;
  };
  // Drawn round even when the head turns: the mean of both axes.
  const float width = std::max(half(center + 1, center + 3), 1.0f),
              height = std::max(half(center + 2, center + 4), 1.0f);
  return {landmarks[center].x * pixels, landmarks[center].y * pixels,
          (width + std::max(height, 0.6f * width)) / 2, landmarks[upper_lid].y * pixels,
          landmarks[lower_lid].y * pixels};
}

// Three box filters along rows, about a Gaussian; edges repeat.
void BlurRows(const std::vector<float>& in, std::vector<float>& out, int side, int radius) {
  const float scale = 1 / static_cast<float>(2 * radius + 1);
  for (int y = 0; y < side; ++y) {
    const float* from = &in[static_cast<size_t>(y) * static_cast<size_t>(side)];
    const auto at = [&](int x) { return from[std::clamp(x, 0, side - 1)]; };
    float sum = 0;
    for (int x = -radius; x <= radius; ++x) sum += at(x);
    for (int x = 0; x < side; ++x) {
      out[static_cast<size_t>(x) * static_cast<size_t>(side) + static_cast<size_t>(y)] =
          sum * scale;  // transposed
      sum += at(x + radius + 1) - at(x - radius);
    }
  }
}

// How much each pixel is darkened by nearer surfaces beside it, 0..0.38.
std::vector<float> ContactShadow(const Raster& raster) {
  const int side = raster.side();
  const std::vector<Seen>& pixels = raster.pixels();
  float farthest = -1e9f;
  for (const Seen& pixel : pixels) {
    if (pixel.triangle >= 0) farthest = std::max(farthest, pixel.depth);
  }
  std::vector<float> depth(pixels.size()), blurred(pixels.size()), scratch(pixels.size());
  for (size_t i = 0; i < pixels.size(); ++i)
    depth[i] = pixels[i].triangle >= 0 ? pixels[i].depth : farthest;
  // Three boxes of radius r have the variance r(r+1).
  const float sigma = static_cast<float>(side) * 0.018f;
  const int radius = static_cast<int>(std::lround(std::sqrt(sigma * sigma + 0.25f) - 0.5f));
  blurred = depth;
  for (int pass = 0; pass < 3; ++pass) {
    BlurRows(blurred, scratch, side, radius);
    BlurRows(scratch, blurred, side, radius);
  }
  for (size_t i = 0; i < pixels.size(); ++i) {
    depth[i] =
        pixels[i].triangle < 0 ? 0 : 0.38f * std::clamp((depth[i] - blurred[i]) / 4, 0.0f, 1.0f);
  }
  return depth;
}

SurfacePoint PointAt(const Seen& seen, const Part& part, const std::vector<Vec3>& normals, int x,
                     int y) {
  const Triangle& triangle = part.triangles[static_cast<size_t>(seen.triangle)];
  const auto i0 = static_cast<size_t>(triangle.vertices[0]),
             i1 = static_cast<size_t>(triangle.vertices[1]),
             i2 = static_cast<size_t>(triangle.vertices[2]);
  const Vertex &a = part.vertices[i0], &b = part.vertices[i1], &c = part.vertices[i2];
  const float w0 = seen.weight0, w1 = seen.weight1, w2 = 1 - w0 - w1;
  SurfacePoint point;
  point.material = triangle.material;
  point.normal = Normalized(normals[i0] * w0 + normals[i1] * w1 + normals[i2] * w2);
  point.at = a.paint_at * w0 + b.paint_at * w1 + c.paint_at * w2;
  point.u = a.u * w0 + b.u * w1 + c.u * w2;
  point.v = a.v * w0 + b.v * w1 + c.v * w2;
  point.pixel_x = static_cast<float>(x) + 0.5f;
  point.pixel_y = static_cast<float>(y) + 0.5f;
  return point;
}

// Averages blocks of `factor` by `factor`.
Image Shrunk(const std::vector<Rgb>& pixels, int size, int factor) {
  Image image{size, size,
              std::vector<uint8_t>(static_cast<size_t>(size) * static_cast<size_t>(size) * 3)};
  const float scale = 1 / static_cast<float>(factor * factor);
  const size_t stride = static_cast<size_t>(size) * static_cast<size_t>(factor);
  const auto to_byte = [](float value) {
    return static_cast<uint8_t>(std::clamp(value + 0.5f, 0.0f, 255.0f));
  };
  for (int y = 0; y < size; ++y) {
    uint8_t* out = image.row(y);
    for (int x = 0; x < size; ++x) {
      Rgb sum;
      for (int dy = 0; dy < factor; ++dy) {
        const Rgb* in = &pixels[static_cast<size_t>(y * factor + dy) * stride +
                                static_cast<size_t>(x * factor)];
        for (int dx = 0; dx < factor; ++dx) sum = sum + in[dx];
      }
      sum = sum * scale;
      *out++ = to_byte(sum.r);
      *out++ = to_byte(sum.g);
      *out++ = to_byte(sum.b);
    }
  }
  return image;
}

}  // namespace

namespace {

Region RegionOf(Material material) {
  switch (material) {
    case Material::kNothing:
      return Region::kBackground;
    case Material::kSkin:
    case Material::kScalp:
      return Region::kSkin;
    case Material::kLip:
      return Region::kLips;
    case Material::kLeftEye:
    case Material::kRightEye:
    case Material::kLidLine:
      return Region::kEyes;
    case Material::kMouth:
      return Region::kMouth;
    case Material::kBrow:
      return Region::kBrows;
    case Material::kHair:
      return Region::kHair;
    case Material::kNeck:
      return Region::kNeck;
    case Material::kClothes:
      return Region::kClothes;
    case Material::kEar:
      return Region::kEars;
    case Material::kHat:
      return Region::kHat;
    case Material::kGlasses:
      return Region::kGlasses;
  }
  return Region::kBackground;
}

}  // namespace

struct PersonRenderer::Head {
  explicit Head(const Person& p) : person(p), painter(p) {
    const FaceVertices face = MakeFace(p, Expression{}).position;
    // Hair that covers the ears replaces them.
    if (p.hair_style != HairStyle::kLong && p.hair_style != HairStyle::kBob)
      still.Append(EarsPart(face));
    still.Append(NeckPart(p));
    still.Append(ClothesPart(p));
    still.Append(HairPart(p, face));
    still.Append(HatPart(p, face));
    GlassesParts glasses = MakeGlasses(p, face);
    still.Append(glasses.frame);
    lenses = std::move(glasses.lenses);
  }

  Person person;
  Painter painter;
  Part still;  // all that no expression moves
  Part lenses;
};

PersonRenderer::PersonRenderer(const Person& person)
    : head_(std::make_unique<const Head>(person)) {}
PersonRenderer::~PersonRenderer() = default;
PersonRenderer::PersonRenderer(PersonRenderer&&) noexcept = default;
PersonRenderer& PersonRenderer::operator=(PersonRenderer&&) noexcept = default;

Render PersonRenderer::Draw(const FaceState& state, int size, int supersampling) const {
  const int side = size * supersampling;
  const Camera camera(state, head_->person.lens, side);
  const FaceGeometry face = MakeFace(head_->person, state.expression);
  Part part = FacePart(head_->person, face);
  part.Append(head_->still);
  const PlacedPart placed = Place(part, camera);

  Render render;
  render.landmarks = ExactLandmarks(face.position, camera, side);
  const std::array<IrisDisc, 2> irises = {IrisFrom(render.landmarks, 468, 159, 145, side),
                                          IrisFrom(render.landmarks, 473, 386, 374, side)};

  Raster raster(side);
  raster.Draw(placed.projected, part.triangles);
  std::vector<uint8_t> behind_glass;
  if (!head_->lenses.triangles.empty()) {
    behind_glass.assign(raster.pixels().size(), 0);
    raster.MarkInFront(Place(head_->lenses, camera).projected, head_->lenses.triangles,
                       behind_glass);
  }

  const std::vector<float> shadow = ContactShadow(raster);
  std::vector<Rgb> colors(raster.pixels().size());
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x) {
      const size_t i = static_cast<size_t>(y) * static_cast<size_t>(side) + static_cast<size_t>(x);
      const Seen& seen = raster.pixels()[i];
      Rgb& color = colors[i];
      if (seen.triangle < 0) {
        color =
            head_->painter.Background((static_cast<float>(x) + 0.5f) / static_cast<float>(side),
                                      (static_cast<float>(y) + 0.5f) / static_cast<float>(side));
      } else {
        color = head_->painter.Surface(PointAt(seen, part, placed.normals, x, y), irises) *
                (1 - shadow[i]);
      }
      if (!behind_glass.empty() && behind_glass[i] != 0)
        color = Mix(color, Rgb{255, 255, 255}, 0.07f);
      color =
          head_->painter.Exposed(color, (static_cast<float>(x) + 0.5f) / static_cast<float>(side),
                                 (static_cast<float>(y) + 0.5f) / static_cast<float>(side));
      // Averaging must not let a highlight outshine white.
      color = {std::min(color.r, 255.0f), std::min(color.g, 255.0f), std::min(color.b, 255.0f)};
    }
  }
  render.image = Shrunk(colors, size, supersampling);
  return render;
}

Truth PersonRenderer::DrawTruth(const FaceState& state, int size) const {
  const Camera camera(state, head_->person.lens, size);
  Part part = FacePart(head_->person, MakeFace(head_->person, state.expression));
  part.Append(head_->still);
  Raster raster(size);
  raster.Draw(Place(part, camera).projected, part.triangles);
  Truth truth;
  truth.regions.reserve(raster.pixels().size());
  truth.depth.reserve(raster.pixels().size());
  for (const Seen& seen : raster.pixels()) {
    const bool hit = seen.triangle >= 0;
    truth.regions.push_back(
        hit ? RegionOf(part.triangles[static_cast<size_t>(seen.triangle)].material)
            : Region::kBackground);
    truth.depth.push_back(hit ? camera.distance() + seen.depth : 0);
  }
  return truth;
}

}  // namespace reenact
