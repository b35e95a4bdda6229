#include "training/people/part.h"

namespace reenact {

void Part::Append(const Part& other) {
  const int offset = static_cast<int>(vertices.size());
  vertices.insert(vertices.end(), other.vertices.begin(), other.vertices.end());
  triangles.reserve(triangles.size() + other.triangles.size());
  for (Triangle triangle : other.triangles) {
    for (int& vertex : triangle.vertices) vertex += offset;
    triangles.push_back(triangle);
  }
}

void AddGrid(Part& part, int first_vertex, int rows, int columns, bool ring, Material material) {
  for (int i = 0; i + 1 < rows; ++i) {
    for (int j = 0; j < (ring ? columns : columns - 1); ++j) {
      const int next = (j + 1) % columns;
      const int a = first_vertex + i * columns + j, b = first_vertex + i * columns + next;
      const int c = a + columns, d = b + columns;
      part.triangles.push_back({{a, b, c}, material});
      part.triangles.push_back({{b, d, c}, material});
    }
  }
}

Part GridPart(const std::vector<std::vector<Vec3>>& rows, bool ring, Material material) {
  Part part;
  for (const std::vector<Vec3>& row : rows) {
    for (const Vec3& p : row) part.vertices.push_back({.position = p, .normal = {}, .paint_at = p});
  }
  AddGrid(part, 0, static_cast<int>(rows.size()), static_cast<int>(rows.front().size()), ring,
          material);
  return part;
}

void ComputeNormals(Part& part) {
  for (Vertex& vertex : part.vertices) vertex.normal = {};
  for (const Triangle& triangle : part.triangles) {
    Vertex& a = part.vertices[static_cast<size_t>(triangle.vertices[0])];
    Vertex& b = part.vertices[static_cast<size_t>(triangle.vertices[1])];
    Vertex& c = part.vertices[static_cast<size_t>(triangle.vertices[2])];
    // Its length is twice the area, so large triangles weigh more.
    const Vec3 normal = Cross(b.position - a.position, c.position - a.position);
    a.normal += normal;
    b.normal += normal;
    c.normal += normal;
  }
  for (Vertex& vertex : part.vertices) vertex.normal = Normalized(vertex.normal);
}

void ComputeOutwardNormals(Part& part) {
  ComputeNormals(part);
  Vec3 center;
  for (const Vertex& vertex : part.vertices) center += vertex.position;
  center = center * (1 / static_cast<float>(part.vertices.size()));
  float outward = 0;
  for (const Vertex& vertex : part.vertices)
    outward += Dot(vertex.normal, vertex.position - center);
  if (outward >= 0) return;
  for (Vertex& vertex : part.vertices) vertex.normal = vertex.normal * -1;
}

std::vector<Vec3> Resample(const std::vector<Vec3>& points, int count) {
  // Catmull-Rom; the ends are doubled.
  std::vector<Vec3> result;
  result.reserve(static_cast<size_t>(count));
  const int last = static_cast<int>(points.size()) - 1;
  const auto at = [&](int i) { return points[static_cast<size_t>(std::clamp(i, 0, last))]; };
  for (int k = 0; k < count; ++k) {
    const float t =
        count == 1 ? 0.0f : static_cast<float>(k * last) / static_cast<float>(count - 1);
    const int i = std::min(static_cast<int>(t), last - 1);
    const float f = t - static_cast<float>(i);
    const Vec3 p0 = at(i - 1), p1 = at(i), p2 = at(i + 1), p3 = at(i + 2);
    result.push_back((p1 * 2 + (p2 - p0) * f + (p0 * 2 - p1 * 5 + p2 * 4 - p3) * (f * f) +
                      (p1 * 3 - p0 - p2 * 3 + p3) * (f * f * f)) *
                     0.5f);
  }
  return result;
}

}  // namespace reenact
