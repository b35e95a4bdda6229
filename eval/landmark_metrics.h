// How alike two faces are by their landmarks, and how one moves. All landmarks of a comparison are
// in one frame of reference with one unit for all three axes, such as a square crop's.
//
// IOD: the distance of the two eyes' centres (the middle of points 33 and 133, and of 263 and 362)
// in three dimensions.
//
// Pure functions, thread-safe.
#pragma once

#include <optional>
#include <vector>

#include "pipeline/face/landmarks.h"

namespace reenact {

double InterOcularDistance(const Landmarks& face);

// The 82 points of lids, lips and irises.
const std::vector<int>& ExpressivePoints();

// The paper's LMSE (section 4.2): the mean over the points' three coordinates of the squared
// difference, in squared units of the landmarks. Times 256^2 it is in squared pixels of a 256-pixel
// picture.
double Lmse(const Landmarks& a, const Landmarks& b);
// The same over ExpressivePoints().
double ExpressiveLmse(const Landmarks& a, const Landmarks& b);

// The mean distance of `found` from `truth` in the picture's plane, as a share of the truth's IOD.
double LandmarkError(const Landmarks& truth, const Landmarks& found);

// Lower lip less upper lip, and the lids' mean opening, in the picture's plane by IOD.
double MouthGap(const Landmarks& face);
double EyeOpening(const Landmarks& face);

// Where the irises are between the left (0) and right (1) corners of their eyes in the picture's
// plane, the mean of both.
double GazeX(const Landmarks& face);

// How much a face trembles: the mean length, over points and neighbouring triples of frames, of the
// points' second difference in the picture's plane, by IOD of the middle frame. Smooth motion gives
// little, noise much. Triples with a frame that has no face count for nothing; no value if there is
// no other.
std::optional<double> Jitter(const std::vector<std::optional<Landmarks>>& frames);

}  // namespace reenact
