// Moves the resting face: hand-made displacement fields, one per action unit, with ranges measured
// on real speech.
#pragma once

#include "training/people/face_mesh.h"
#include "training/people/people.h"

namespace reenact {

// The average person's face in this expression. Closed lids and lips meet and never cross. A shape
// warp may follow: it is continuous in space, so what is closed here is closed for everybody.
// Thread-safe.
FaceVertices ExpressiveFace(const Expression& expression);

}  // namespace reenact
