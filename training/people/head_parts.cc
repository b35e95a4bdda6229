#include "training/people/head_parts.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "training/people/action_units.h"
#include "training/people/face_warp.h"

namespace reenact {
namespace {

constexpr int kSkullRings = 8;

Vec3 At(const FaceVertices& face, int vertex) { return face[static_cast<size_t>(vertex)]; }

std::vector<Vec3> Curve(const FaceVertices& face, std::span<const int> vertices, int count) {
  std::vector<Vec3> points;
  for (int vertex : vertices) points.push_back(At(face, vertex));
  return Resample(points, count);
}

// A strip over the brow bone, thinner towards the temple and rounded off at the nose.
Part Brow(const Person& person, const FaceVertices& face, std::span<const int> upper,
          std::span<const int> lower, const Vec3& normal) {
  constexpr int kPoints = 13;
  const std::vector<Vec3> top = Curve(face, upper, kPoints), bottom = Curve(face, lower, kPoints);
  std::vector<std::vector<Vec3>> rows(2);
  for (int i = 0; i < kPoints; ++i) {
    const float along = static_cast<float>(i) / (kPoints - 1);
    const float taper = std::min(0.25f + 0.9f * along, 1.0f) * std::min(4 - 3.1f * along, 1.0f) *
                        person.brow_thickness;
    const size_t k = static_cast<size_t>(i);
    const Vec3 middle = Mix(top[k], bottom[k], 0.5f) + Vec3{0, 0, 0.22f},
               half = (top[k] - bottom[k]) * (0.5f * taper);
    rows[0].push_back(middle + half);
    rows[1].push_back(middle - half);
  }
  Part part = GridPart(rows, false, Material::kBrow);
  for (Vertex& vertex : part.vertices) vertex.normal = normal;
  return part;
}

// Lashes: a dark line on the edge of the upper lid.
Part LidLine(const Person& person, const FaceVertices& face, std::span<const int> edge,
             std::span<const int> fold) {
  constexpr int kPoints = 17;
  const std::vector<Vec3> lid = Curve(face, edge, kPoints), above = Curve(face, fold, kPoints);
  std::vector<std::vector<Vec3>> rows(2);
  for (int i = 0; i < kPoints; ++i) {
    const float along = static_cast<float>(i) / (kPoints - 1);
    const float width = (0.1f + 0.16f * person.make_up) * std::sin(0.25f + 2.65f * along);
    const size_t k = static_cast<size_t>(i);
    const Vec3 up = Normalized(above[k] - lid[k]), base = lid[k] + Vec3{0, 0, 0.1f};
    rows[0].push_back(base + up * width);
    rows[1].push_back(base - up * 0.03f);
  }
  Part part = GridPart(rows, false, Material::kLidLine);
  for (Vertex& vertex : part.vertices) vertex.normal = {0, 0, 1};
  return part;
}

}  // namespace

FaceGeometry MakeFace(const Person& person, const Expression& expression) {
  FaceGeometry face;
  face.average = ExpressiveFace(expression);
  for (size_t i = 0; i < face.average.size(); ++i)
    face.position[i] = Warp(person.shape, face.average[i]);
  return face;
}

Vec3 OutOfSkull(const Vec3& edge) { return Normalized({edge.x, edge.y - 1.5f, 0}); }

Vec3 Skull(const Vec3& edge, float t) {
  constexpr Vec3 kBackOfHead{0, 3.2f, -11}, kNape{0, -7, -3.5f};
  const float upper = Smoothstep(-4.5f, 1, edge.y);
  const Vec3 back = Mix(kNape, kBackOfHead, upper);
  const float bulge =
      (0.45f + 5.2f * Smoothstep(2, 8, edge.y)) * std::sin(kPi * std::min(1.0f, t * 1.02f)) * upper;
  const float c = std::cos(kPi * t / 2), s = std::sin(kPi * t / 2);
  const Vec3 out = OutOfSkull(edge);
  return {back.x + (edge.x - back.x) * c + out.x * bulge * 0.45f,
          back.y + (edge.y - back.y) * c + out.y * bulge, edge.z + (back.z - edge.z) * s};
}

std::vector<Vec3> OvalOf(const FaceVertices& face) {
  std::vector<Vec3> oval;
  for (int vertex : kFaceOval) oval.push_back(At(face, vertex));
  return oval;
}

Part FacePart(const Person& person, const FaceGeometry& face) {
  Part part;
  // The iris points are no part of the surface.
  for (size_t i = 0; i < kNumSurfaceVertices; ++i) {
    part.vertices.push_back(
        {.position = face.position[i], .normal = {}, .paint_at = face.average[i]});
  }
  for (const Facing& pair : kLips) {
    Vertex &upper = part.vertices[static_cast<size_t>(pair.upper)],
           &lower = part.vertices[static_cast<size_t>(pair.lower)];
    upper.v = lower.v = lower.u = upper.position.y - lower.position.y;
  }
  for (size_t i = 0; i < kMeshTriangles.size(); ++i) {
    const auto& [a, b, c] = kMeshTriangles[i];
    part.triangles.push_back({{a, b, c}, TriangleMaterials()[i]});
  }

  // The skull shares the oval's vertices, so there is no seam.
  const std::vector<Vec3> oval = OvalOf(face.position);
  constexpr int kColumns = static_cast<int>(kFaceOval.size());
  for (int ring = 1; ring <= kSkullRings; ++ring) {
    for (const Vec3& edge : oval) {
      const Vec3 p = Skull(edge, static_cast<float>(ring) / kSkullRings);
      part.vertices.push_back({.position = p, .normal = {}, .paint_at = p});
    }
  }
  const auto index = [&](int ring, int column) {
    column %= kColumns;
    return ring == 0 ? kFaceOval[static_cast<size_t>(column)]
                     : kNumSurfaceVertices + (ring - 1) * kColumns + column;
  };
  for (int ring = 0; ring < kSkullRings; ++ring) {
    for (int column = 0; column < kColumns; ++column) {
      // The oval runs clockwise in the picture, the face's triangles counter-clockwise.
      const int here = index(ring, column), next = index(ring, column + 1);
      const int behind = index(ring + 1, column), behind_next = index(ring + 1, column + 1);
      part.triangles.push_back({{here, next, behind}, Material::kScalp});
      part.triangles.push_back({{next, behind_next, behind}, Material::kScalp});
    }
  }
  ComputeNormals(part);

  constexpr int kLeftBrowTop[] = {70, 63, 105, 66, 107}, kLeftBrowBottom[] = {46, 53, 52, 65, 55};
  constexpr int kRightBrowTop[] = {300, 293, 334, 296, 336},
                kRightBrowBottom[] = {276, 283, 282, 295, 285};
  constexpr int kLeftLidEdge[] = {33, 246, 161, 160, 159, 158, 157, 173, 133};
  constexpr int kRightLidEdge[] = {263, 466, 388, 387, 386, 385, 384, 398, 362};
  constexpr int kLeftLidFold[] = {130, 247, 30, 29, 27, 28, 56, 190, 243};
  constexpr int kRightLidFold[] = {359, 467, 260, 259, 257, 258, 286, 414, 463};
  const FaceVertices& f = face.position;
  const Vec3 left_normal = part.vertices[105].normal, right_normal = part.vertices[334].normal;
  part.Append(Brow(person, f, kLeftBrowTop, kLeftBrowBottom, left_normal));
  part.Append(Brow(person, f, kRightBrowTop, kRightBrowBottom, right_normal));
  part.Append(LidLine(person, f, kLeftLidEdge, kLeftLidFold));
  part.Append(LidLine(person, f, kRightLidEdge, kRightLidFold));
  return part;
}

Part EarsPart(const FaceVertices& face) {
  constexpr int kAround = 14, kSlices = 7;
  Part ears;
  for (const float side : {-1.0f, 1.0f}) {
    const Vec3 center = At(face, side > 0 ? 454 : 234) + Vec3{side * 0.55f, 0.6f, -0.9f};
    std::vector<std::vector<Vec3>> rows;
    for (int i = 0; i < kSlices; ++i) {
      const float q = kPi * static_cast<float>(i) / (kSlices - 1);
      std::vector<Vec3>& row = rows.emplace_back();
      for (int j = 0; j < kAround; ++j) {
        const float a = 2 * kPi * static_cast<float>(j) / kAround;
        row.push_back(center + Vec3{side * 0.54f * std::cos(q), 2 * std::sin(q) * std::sin(a),
                                    1.15f * std::sin(q) * std::cos(a)});
      }
    }
    Part ear = GridPart(rows, true, Material::kEar);
    ComputeOutwardNormals(ear);
    // For paint: how far from the ear's rim.
    for (int i = 0; i < kSlices; ++i) {
      for (int j = 0; j < kAround; ++j) {
        ear.vertices[static_cast<size_t>(i * kAround + j)].u =
            std::sin(kPi * static_cast<float>(i) / (kSlices - 1));
      }
    }
    ears.Append(ear);
  }
  return ears;
}

float NeckRadius(const Person& person) {
  return (person.man ? 5.3f : 4.5f) * (1 + 0.06f * person.shape.face_width);
}

Part NeckPart(const Person& person) {
  constexpr int kAround = 28;
  struct Ring {
    float y, radius_x, radius_z, z, sag, with_head;
  };
  const float r = NeckRadius(person);
  const Ring rings[] = {{-4, r, r * 0.9f, -4.6f, 0, 1},
                        {-9, r, r * 0.92f, -4.2f, 0, 0.25f},
                        {-13, r * 1.06f, r, -4, 0, 0},
                        {-16, r * 1.7f, r * 1.1f, -4, 0.5f, 0}};
  std::vector<std::vector<Vec3>> rows;
  for (const Ring& ring : rings) {
    std::vector<Vec3>& row = rows.emplace_back();
    for (int j = 0; j < kAround; ++j) {
      const float a = 2 * kPi * static_cast<float>(j) / kAround, c = std::cos(a), s = std::sin(a);
      row.push_back({ring.radius_x * c, ring.y - ring.sag * c * c, ring.z + ring.radius_z * s});
    }
  }
  Part neck = GridPart(rows, true, Material::kNeck);
  ComputeOutwardNormals(neck);
  for (size_t i = 0; i < neck.vertices.size(); ++i)
    neck.vertices[i].with_head = rings[i / kAround].with_head;
  return neck;
}

}  // namespace reenact
