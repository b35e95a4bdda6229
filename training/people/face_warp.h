// A person's proportions as a continuous warp of space.
#pragma once

#include "training/people/people.h"
#include "training/people/vec3.h"

namespace reenact {

// Where a point of the average head lies on a head of this shape.
Vec3 Warp(const FaceShape& shape, const Vec3& p);

}  // namespace reenact
