// What a person wears.
#pragma once

#include "training/people/face_mesh.h"
#include "training/people/part.h"
#include "training/people/people.h"

namespace reenact {

Part ClothesPart(const Person& person);

// These two are empty where nothing is worn. `face` is the person at rest.
Part HatPart(const Person& person, const FaceVertices& face);

struct GlassesParts {
  Part frame;
  Part lenses;  // to be looked through
};
GlassesParts MakeGlasses(const Person& person, const FaceVertices& face);

}  // namespace reenact
