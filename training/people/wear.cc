#include "training/people/wear.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "training/people/head_parts.h"

namespace reenact {
namespace {

float SignedPower(float base, float exponent) {
  return std::copysign(std::pow(std::abs(base), exponent), base);
}

// A tube along `path`.
Part Tube(const std::vector<Vec3>& path, float radius, bool closed) {
  constexpr int kAround = 6;
  std::vector<std::vector<Vec3>> rows;
  std::vector<Vec3> normals;
  const size_t count = path.size();
  for (size_t i = 0; i < count; ++i) {
    const Vec3& before = path[i > 0 ? i - 1 : (closed ? count - 1 : 0)];
    const Vec3& after = path[i + 1 < count ? i + 1 : (closed ? 0 : count - 1)];
    const Vec3 along = Normalized(after - before);
    // Any direction that is never parallel to a frame of glasses will do to span the cross-section.
    const Vec3 side = Normalized(Cross(along, {0.1f, 0.2f, 1})), up = Cross(side, along);
    std::vector<Vec3>& row = rows.emplace_back();
    for (int j = 0; j < kAround; ++j) {
      const float a = 2 * kPi * static_cast<float>(j) / kAround;
      normals.push_back(side * std::cos(a) + up * std::sin(a));
      row.push_back(path[i] + normals.back() * radius);
    }
  }
  if (closed) {
    rows.push_back(rows.front());
    normals.insert(normals.end(), normals.begin(), normals.begin() + kAround);
  }
  Part part = GridPart(rows, true, Material::kGlasses);
  for (size_t i = 0; i < normals.size(); ++i) part.vertices[i].normal = normals[i];
  return part;
}

}  // namespace

Part ClothesPart(const Person& person) {
  constexpr int kAround = 28;
  struct Ring {
    float y, radius_x, radius_z, sag, roundness;
  };
  const float r = NeckRadius(person), shoulders = person.man ? 17.5f : 14.8f;
  const float collar = static_cast<float>(person.collar);
  const float y = std::array<float, 3>{-12.6f, -13.4f, -14.6f}[static_cast<size_t>(person.collar)];
  const Ring rings[] = {{y, r * (1.12f + 0.12f * collar), r * 1.12f, 0, 1},
                        {y - 1.2f, r * (1.35f + 0.25f * collar), r * 1.25f, 0.2f, 1},
                        {y - 2.4f, shoulders * 0.72f, r * 1.4f, 1.2f, 0.9f},
                        {y - 4.2f, shoulders * 0.95f, r * 1.5f, 2.2f, 0.85f},
                        {y - 9, shoulders * 1.08f, r * 1.6f, 2.2f, 0.8f},
                        {-40, shoulders * 1.1f, r * 1.7f, 0, 0.8f}};
  std::vector<std::vector<Vec3>> rows;
  for (const Ring& ring : rings) {
    std::vector<Vec3>& row = rows.emplace_back();
    for (int j = 0; j < kAround; ++j) {
      const float a = 2 * kPi * static_cast<float>(j) / kAround, c = std::cos(a), s = std::sin(a);
      row.push_back({ring.radius_x * SignedPower(c, ring.roundness), ring.y - ring.sag * c * c,
                     -4 + ring.radius_z * SignedPower(s, ring.roundness)});
    }
  }
  Part part = GridPart(rows, true, Material::kClothes);
  ComputeOutwardNormals(part);
  for (Vertex& vertex : part.vertices) vertex.with_head = 0;
  return part;
}

Part HatPart(const Person& person, const FaceVertices& face) {
  Part hat;
  if (person.hat == Hat::kNone) return hat;
  constexpr int kColumns = 72, kRows = 12;
  std::vector<Vec3> edge = OvalOf(face);
  edge.push_back(edge.front());
  edge = Resample(edge, kColumns + 1);
  edge.pop_back();

  std::vector<std::vector<Vec3>> rows;
  for (int i = 0; i < kRows; ++i) {
    constexpr float kOut = 1.35f;
    const float t = static_cast<float>(i) / (kRows - 1);
    std::vector<Vec3>& row = rows.emplace_back();
    for (const Vec3& e : edge) {
      row.push_back(Skull(e, t) + OutOfSkull(e) * (kOut * std::cos(kPi * t / 2 * 0.9f)) +
                    Vec3{0, 0.2f, -kOut * t + 0.9f * (1 - t)});
    }
  }
  const bool beanie = person.hat == Hat::kBeanie;
  if (beanie) {  // the turned-up band
    std::vector<Vec3> band = rows.front();
    for (Vec3& p : band) p += Vec3{0, -1.1f, 0.35f};
    rows.insert(rows.begin(), band);
  }
  hat = GridPart(rows, true, Material::kHat);
  for (size_t i = 0; i < hat.vertices.size(); ++i) {
    // Counted from the chin, where no hat shows the jump.
    hat.vertices[i].u = static_cast<float>((i + kColumns / 2) % kColumns) * 5;
    hat.vertices[i].v = static_cast<float>(i / kColumns);
  }
  std::erase_if(hat.triangles, [&](const Triangle& triangle) {
    return std::all_of(triangle.vertices.begin(), triangle.vertices.end(), [&](int vertex) {
      return Smoothstep(2.2f, 4.4f, edge[static_cast<size_t>(vertex) % kColumns].y) <= 0.1f;
    });
  });
  ComputeOutwardNormals(hat);
  if (beanie) return hat;

  std::vector<Vec3> root;  // the cap's peak
  for (size_t j = 0; j < kColumns; ++j) {
    if (edge[j].y > 4.6f) root.push_back(rows[0][j]);
  }
  std::sort(root.begin(), root.end(), [](const Vec3& a, const Vec3& b) { return a.x < b.x; });
  float widest = 0;
  for (const Vec3& p : root) widest = std::max(widest, std::abs(p.x));
  std::vector<std::vector<Vec3>> peak(3);
  for (const Vec3& p : root) {
    const float middle = 1 - (p.x / widest) * (p.x / widest);
    const Vec3 out{0, -0.5f - 0.3f * middle, 1 + 4.6f * middle};
    for (size_t i = 0; i < peak.size(); ++i)
      peak[i].push_back(p + out * (static_cast<float>(i) / 2));
  }
  Part peak_part = GridPart(peak, false, Material::kHat);
  for (Vertex& vertex : peak_part.vertices) {
    vertex.normal = Normalized({0, 0.8f, 0.6f});
    vertex.u = vertex.v = 3;
  }
  hat.Append(peak_part);
  return hat;
}

GlassesParts MakeGlasses(const Person& person, const FaceVertices& face) {
  GlassesParts glasses;
  if (person.glasses == Glasses::kNone) return glasses;
  constexpr int kAround = 40;
  const bool square = person.glasses == Glasses::kSquare;
  const float roundness = square ? 0.55f : 1, radius_x = square ? 2.3f : 2.15f,
              radius_y = square ? 1.55f : 1.85f;
  const float wire = person.glasses == Glasses::kThin ? 0.12f : 0.28f;  // acetate, 6 mm
  const float z = std::max(face[6].z, face[168].z) + 0.75f;
  // The lenses bend back towards the temples.
  const auto on_front = [&](float x, float y) { return Vec3{x, y, z - 0.035f * x * x}; };

  std::array<Vec3, 2> inner;
  for (const float side : {-1.0f, 1.0f}) {
    const Vec3 eye = Mix(face[side < 0 ? 33 : 263], face[side < 0 ? 133 : 362], 0.5f);
    const float x = eye.x * 1.02f, y = eye.y - 0.25f;
    std::vector<Vec3> rim;
    for (int i = 0; i < kAround; ++i) {
      const float a = 2 * kPi * static_cast<float>(i) / kAround;
      rim.push_back(on_front(x + radius_x * SignedPower(std::cos(a), roundness),
                             y + radius_y * SignedPower(std::sin(a), roundness)));
    }
    glasses.frame.Append(Tube(rim, wire, true));
    inner[side < 0 ? 0 : 1] = on_front(x - side * radius_x, y + 0.45f);

    Part lens;
    lens.vertices.push_back({.position = on_front(x, y), .normal = {0, 0, 1}, .paint_at = {}});
    for (int i = 0; i < kAround; ++i) {
      lens.vertices.push_back(
          {.position = rim[static_cast<size_t>(i)], .normal = {0, 0, 1}, .paint_at = {}});
      lens.triangles.push_back({{0, 1 + i, 1 + (i + 1) % kAround}, Material::kGlasses});
    }
    glasses.lenses.Append(lens);

    // Temples, bowed round the head to the ear.
    const Vec3 hinge = on_front(x + side * radius_x, y + 0.5f);
    const Vec3 ear{face[side > 0 ? 454 : 234].x + side * 0.5f, y + 0.55f, -2.5f};
    std::vector<Vec3> temple;
    for (int i = 0; i <= 12; ++i) {
      const float t = static_cast<float>(i) / 12;
      temple.push_back(Mix(hinge, ear, t) + Vec3{side * 0.9f * std::sin(kPi * t), 0, 0});
    }
    glasses.frame.Append(Tube(temple, wire, false));
  }
  std::vector<Vec3> bridge;
  for (int i = 0; i <= 6; ++i) {
    const float t = static_cast<float>(i) / 6;
    Vec3 p = Mix(inner[0], inner[1], t);
    p.y += 0.25f * std::sin(kPi * t);
    p.z = z - 0.035f * p.x * p.x;
    bridge.push_back(p);
  }
  glasses.frame.Append(Tube(bridge, wire, false));
  return glasses;
}

}  // namespace reenact
