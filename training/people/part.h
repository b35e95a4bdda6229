// Pieces of surface a person is put together from.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "training/people/face_mesh.h"
#include "training/people/vec3.h"

namespace reenact {

struct Vertex {
  Vec3 position;  // cm, on this person
  Vec3 normal;
  // Where paint looks this point up: the place on the average resting head, so that paint follows
  // shape and expression.
  Vec3 paint_at;
  // On hair and hats: across and along the strands. In the mouth: distance below the upper lip,
  // height of the opening.
  float u = 0, v = 0;
  // 1: turns with the head; 0: with the shoulders.
  float with_head = 1;
};

struct Triangle {
  std::array<int, 3> vertices;
  Material material;
};

struct Part {
  std::vector<Vertex> vertices;
  std::vector<Triangle> triangles;

  void Append(const Part& other);
};

// Joins `rows` rows of `columns` vertices, row-major and starting at `first_vertex`, into a
// surface; closed round if `ring`.
void AddGrid(Part& part, int first_vertex, int rows, int columns, bool ring, Material material);

// A surface over rows of equally many points, painted at its own place, normals not yet set.
Part GridPart(const std::vector<std::vector<Vec3>>& rows, bool ring, Material material);

// Sets smooth normals; triangles that share vertices share normals. Their side follows the order of
// the vertices.
void ComputeNormals(Part& part);

// As above, turned to point away from the part's centre.
void ComputeOutwardNormals(Part& part);

}  // namespace reenact
