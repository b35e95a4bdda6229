// The face and the rest of the head and neck: all that is skin.
#pragma once

#include <vector>

#include "training/people/face_mesh.h"
#include "training/people/part.h"
#include "training/people/people.h"

namespace reenact {

// The face, warped to the person's shape, in two positions.
struct FaceGeometry {
  FaceVertices position;  // on this person
  FaceVertices average;   // the same expression on the average head: where paint looks it up
};

FaceGeometry MakeFace(const Person& person, const Expression& expression);

// Surface of the skull behind the boundary point `edge` of the face: `t` 0 = there, 1 = at the
// back.
Vec3 Skull(const Vec3& edge, float t);

// The direction in the picture's plane in which things grow out of the skull behind `edge`; a unit
// vector.
Vec3 OutOfSkull(const Vec3& edge);

std::vector<Vec3> OvalOf(const FaceVertices& face);

// Face, skull, brows and lid lines. Changes with the expression.
Part FacePart(const Person& person, const FaceGeometry& face);

// Ears and neck. `face` is the person at rest.
Part EarsPart(const FaceVertices& face);
Part NeckPart(const Person& person);
float NeckRadius(const Person& person);

}  // namespace reenact
