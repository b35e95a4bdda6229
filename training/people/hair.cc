#include "training/people/hair.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "training/people/head_parts.h"
#include "training/people/noise.h"

namespace reenact {
namespace {

constexpr int kColumns = 72;  // around the face's oval

// Where between hairline (0) and back (1) the rows of the cap lie; dense at the line, where
// thickness changes.
constexpr float kCapRows[] = {0.03f, 0.06f,  0.1f,   0.15f, 0.22f,  0.307f, 0.393f,
                              0.48f, 0.567f, 0.653f, 0.74f, 0.827f, 0.913f, 1.0f};

float Thickness(const Person& person) {
  float thickness = 0;
  switch (person.hair_style) {
    case HairStyle::kBald:
      return 0;
    case HairStyle::kBuzzCut:
      thickness = 0.3f;
      break;
    case HairStyle::kShort:
      thickness = 1.3f;
      break;
    case HairStyle::kAfro:
      thickness = 3.6f;
      break;
    case HairStyle::kBob:
      thickness = 1.5f;
      break;
    case HairStyle::kLong:
      thickness = 1.4f;
      break;
    case HairStyle::kBun:
      thickness = 0.9f;
      break;
  }
  return person.hat == Hat::kNone ? thickness : std::min(thickness, 0.8f);
}

// Hair over the ears, not only above them.
bool IsLow(HairStyle style) {
  return style == HairStyle::kLong || style == HairStyle::kBob || style == HairStyle::kAfro;
}

struct Cap {
  std::vector<Vec3> edge;               // the face's oval, finely sampled
  std::vector<float> wave;              // irregularity along it
  std::vector<std::vector<Vec3>> rows;  // kCapRows
  std::vector<float> cover;             // 0 where no hair grows .. 1
};

Cap MakeCap(const Person& person, const FaceVertices& face) {
  Cap cap;
  std::vector<Vec3> oval = OvalOf(face);
  oval.push_back(oval.front());
  cap.edge = Resample(oval, kColumns + 1);
  cap.edge.pop_back();
  cap.wave = RingNoise(person.seed + 77, kColumns);
  const HairStyle style = person.hair_style;
  for (const Vec3& edge : cap.edge) {
    cap.cover.push_back(IsLow(style) ? Smoothstep(-5, -1.5f, edge.y)
                                     : Smoothstep(-3.2f, 0.8f, edge.y));
  }
  const float thickness = Thickness(person), waviness = style == HairStyle::kBuzzCut ? 0 : 0.12f;
  for (const float t : kCapRows) {
    std::vector<Vec3>& row = cap.rows.emplace_back();
    // Thin at the hairline: a thick edge would hide the forehead.
    const float grown = style == HairStyle::kAfro ? 0.35f + 0.65f * Smoothstep(0, 0.3f, t)
                                                  : 0.12f + 0.88f * Smoothstep(-0.02f, 0.3f, t);
    for (size_t j = 0; j < kColumns; ++j) {
      const float out = thickness * grown * (1 + waviness * cap.wave[j]) * cap.cover[j];
      Vec3 p =
          Skull(cap.edge[j], t) + OutOfSkull(cap.edge[j]) * (out * std::cos(kPi * t / 2 * 0.9f));
      p.z += 0.15f * std::max(0.0f, 1 - t * 4) - out * 0.9f * t;
      row.push_back(p);
    }
  }
  return cap;
}

// Counted from the chin, where no hair shows the jump.
float AcrossStrands(size_t column) {
  return static_cast<float>((column + kColumns / 2) % kColumns) * 6;
}

Part CapPart(const Cap& cap) {
  Part part = GridPart(cap.rows, true, Material::kHair);
  for (size_t i = 0; i < part.vertices.size(); ++i) {
    part.vertices[i].u = AcrossStrands(i % kColumns);
    part.vertices[i].v = kCapRows[i / kColumns] * 40;
  }
  std::erase_if(part.triangles, [&](const Triangle& triangle) {
    return std::all_of(triangle.vertices.begin(), triangle.vertices.end(), [&](int vertex) {
      return cap.cover[static_cast<size_t>(vertex) % kColumns] <= 0.25f;
    });
  });
  ComputeOutwardNormals(part);
  return part;
}

// Height of the face's surface at a place in the picture's plane, from its four nearest vertices.
float SurfaceZ(const FaceVertices& face, const Vec3& p) {
  std::array<std::pair<float, float>, 4> nearest;  // squared distance, z
  nearest.fill({1e9f, 0.0f});
  for (size_t i = 0; i < kNumSurfaceVertices; ++i) {
    const float dx = face[i].x - p.x, dy = face[i].y - p.y, distance = dx * dx + dy * dy;
    if (distance >= nearest.back().first) continue;
    nearest.back() = {distance, face[i].z};
    std::sort(nearest.begin(), nearest.end());
  }
  float sum = 0, weights = 0;
  for (const auto& [distance, z] : nearest) {
    sum += z / (distance + 0.05f);
    weights += 1 / (distance + 0.05f);
  }
  return sum / weights;
}

// From the hair above the forehead down over it. A short fringe is parted.
Part FringePart(const Person& person, const FaceVertices& face, const Cap& cap) {
  constexpr int kRows = 5;
  constexpr size_t kRootRow = 4;  // of the cap
  std::vector<size_t> columns;
  for (size_t j = 0; j < kColumns; ++j) {
    if (cap.edge[j].y > 3.6f) columns.push_back(j);
  }
  std::sort(columns.begin(), columns.end(),
            [&](size_t a, size_t b) { return cap.edge[a].x < cap.edge[b].x; });

  const float thickness = Thickness(person);
  std::vector<std::vector<Vec3>> rows(kRows + 1);
  for (size_t column : columns) {
    const Vec3 edge = cap.edge[column];
    const float parted = person.fringe_length < 2
                             ? std::min(std::abs(edge.x - person.fringe_parting * 3) / 2.5f, 1.0f)
                             : 1.0f;
    const float length = std::max(person.fringe_length * parted * Smoothstep(3.5f, 7.2f, edge.y) +
                                      0.05f + 0.22f * cap.wave[column] * parted,
                                  0.02f);
    rows[0].push_back(cap.rows[kRootRow][column]);
    for (int i = 0; i < kRows; ++i) {
      const float down = static_cast<float>(i) / (kRows - 1);
      Vec3 p{edge.x * (1 - 0.1f * down), edge.y - length * down, 0};
      const float z = SurfaceZ(face, p);
      p.z = std::max(z, edge.z * (1 - down) + z * down) + 0.12f +
            0.75f * thickness * std::min(1.0f, down * 1.2f + 0.3f) * std::cos(down * 1.2f);
      rows[static_cast<size_t>(i) + 1].push_back(p);
    }
  }
  Part part = GridPart(rows, false, Material::kHair);
  for (size_t i = 0; i < part.vertices.size(); ++i) {
    part.vertices[i].u = AcrossStrands(columns[i % columns.size()]);
    part.vertices[i].v = -10 + 2 * static_cast<float>(i / columns.size());
  }
  ComputeOutwardNormals(part);
  return part;
}

// A curtain from temple to temple round the back.
Part CurtainPart(const Person& person, const FaceVertices& face, const Cap& cap) {
  constexpr int kRows = 11, kAcross = 33;
  constexpr float kTop = 5.6f;  // at the temples, where it grows out of the cap
  const bool is_long = person.hair_style == HairStyle::kLong;
  const float end = is_long ? -17.0f : -7.5f;
  const float radius =
      (std::abs(face[234].x) + std::abs(face[454].x)) / 2 + Thickness(person) * 0.75f;
  std::vector<std::vector<Vec3>> rows;
  for (int i = 0; i < kRows; ++i) {
    const float y = kTop + (end - kTop) * static_cast<float>(i) / (kRows - 1);
    const float down = std::max((3.2f - y) / (3.2f - end), 0.0f);  // from where it hangs freely
    const float narrow = 1 - 0.12f * Smoothstep(2.0f, kTop, y);
    std::vector<Vec3>& row = rows.emplace_back();
    for (int j = 0; j < kAcross; ++j) {
      const float q = kPi * (-0.2f + 1.4f * static_cast<float>(j) / (kAcross - 1));
      const float wave =
          0.25f * std::sin(down * 9 + q * 7) * (is_long ? 1 : 0.4f) * std::min(down * 4, 1.0f);
      const float flare = narrow * (1 + (is_long ? 0.1f * down : 0.05f * std::sin(down * 3.1f)));
      row.push_back({-(radius * flare + wave) * std::cos(q),
                     y + 0.3f * cap.wave[static_cast<size_t>(j)] * down,
                     -3.6f - (6.2f + wave) * std::sin(q) + (is_long ? 0.9f : 0.4f) * down});
    }
  }
  Part part = GridPart(rows, false, Material::kHair);
  for (size_t i = 0; i < part.vertices.size(); ++i) {
    const float down = static_cast<float>(i / kAcross) / (kRows - 1);
    part.vertices[i].u = static_cast<float>(i % kAcross) * 9;
    part.vertices[i].v = 40 + 40 * down;
    // The ends of long hair lie on the shoulders.
    if (is_long) part.vertices[i].with_head = 1 - 0.6f * down * down;
  }
  ComputeOutwardNormals(part);
  return part;
}

Part BunPart(const Person& person) {
  constexpr int kRows = 9, kAround = 16;
  std::vector<std::vector<Vec3>> rows;
  for (int i = 0; i < kRows; ++i) {
    const float q = 0.05f + (kPi - 0.1f) * static_cast<float>(i) / (kRows - 1);
    std::vector<Vec3>& row = rows.emplace_back();
    for (int j = 0; j < kAround; ++j) {
      const float a = kPi * (2 * static_cast<float>(j) / kAround - 0.5f);  // from the back
      row.push_back({2.6f * std::sin(q) * std::cos(a),
                     12.2f + 0.4f * person.shape.forehead_height + 2.3f * std::cos(q),
                     -4.5f + 2.6f * std::sin(q) * std::sin(a)});
    }
  }
  Part part = GridPart(rows, true, Material::kHair);
  for (size_t i = 0; i < part.vertices.size(); ++i) {
    part.vertices[i].u = static_cast<float>(i % kAround) * 9;
    part.vertices[i].v = static_cast<float>(i / kAround) * 6;
  }
  ComputeOutwardNormals(part);
  return part;
}

}  // namespace

Part HairPart(const Person& person, const FaceVertices& face) {
  Part hair;
  if (person.hair_style == HairStyle::kBald) return hair;
  const Cap cap = MakeCap(person, face);
  hair.Append(CapPart(cap));
  if (person.fringe_length > 0) hair.Append(FringePart(person, face, cap));
  if (person.hair_style == HairStyle::kBob || person.hair_style == HairStyle::kLong) {
    hair.Append(CurtainPart(person, face, cap));
  }
  if (person.hair_style == HairStyle::kBun) hair.Append(BunPart(person));
  return hair;
}

}  // namespace reenact
