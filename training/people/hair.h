// Hair on the skull, down the forehead and down the back.
#pragma once

#include "training/people/face_mesh.h"
#include "training/people/part.h"
#include "training/people/people.h"

namespace reenact {

// Empty for the bald. `face` is the person at rest.
Part HairPart(const Person& person, const FaceVertices& face);

}  // namespace reenact
