#include "eval/landmark_metrics.h"

#include <cmath>
#include <cstddef>

#include "training/people/face_mesh.h"

namespace reenact {
namespace {

constexpr int kFirstIrisPoint = 468;

double SquaredDistance(const Point3& a, const Point3& b) {
  const double x = a.x - b.x, y = a.y - b.y, z = a.z - b.z;
  return x * x + y * y + z * z;
}

Point3 Middle(const Point3& a, const Point3& b) {
  return {(a.x + b.x) / 2, (a.y + b.y) / 2, (a.z + b.z) / 2};
}

}  // namespace

double InterOcularDistance(const Landmarks& face) {
  return std::sqrt(SquaredDistance(Middle(face[33], face[133]), Middle(face[263], face[362])));
}

const std::vector<int>& ExpressivePoints() {
  static const auto* const points = [] {
    auto* all = new std::vector<int>;
    const auto add = [all](const auto& ring) { all->insert(all->end(), ring.begin(), ring.end()); };
    add(kLeftEyeRing);
    add(kRightEyeRing);
    add(kOuterLips);
    add(kInnerLips);
    for (int i = kFirstIrisPoint; i < kNumLandmarks; ++i) all->push_back(i);
    return all;
  }();
  return *points;
}

double Lmse(const Landmarks& a, const Landmarks& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += SquaredDistance(a[i], b[i]);
  return sum / (3.0 * kNumLandmarks);
}

double ExpressiveLmse(const Landmarks& a, const Landmarks& b) {
  double sum = 0;
  for (const int i : ExpressivePoints()) {
    sum += SquaredDistance(a[static_cast<size_t>(i)], b[static_cast<size_t>(i)]);
  }
  return sum / (3.0 * static_cast<double>(ExpressivePoints().size()));
}

double LandmarkError(const Landmarks& truth, const Landmarks& found) {
  double sum = 0;
  for (size_t i = 0; i < truth.size(); ++i) {
    sum += std::hypot(truth[i].x - found[i].x, truth[i].y - found[i].y);
  }
  return sum / kNumLandmarks / InterOcularDistance(truth);
}

double MouthGap(const Landmarks& face) {
  return (face[14].y - face[13].y) / InterOcularDistance(face);
}

double EyeOpening(const Landmarks& face) {
  return (face[145].y - face[159].y + face[374].y - face[386].y) / 2 / InterOcularDistance(face);
}

double GazeX(const Landmarks& face) {
  const auto place = [&face](size_t iris, size_t left, size_t right) {
    const double x = face[right].x - face[left].x, y = face[right].y - face[left].y;
    return ((face[iris].x - face[left].x) * x + (face[iris].y - face[left].y) * y) /
           (x * x + y * y);
  };
  return (place(468, 33, 133) + place(473, 362, 263)) / 2;
}

std::optional<double> Jitter(const std::vector<std::optional<Landmarks>>& frames) {
  double sum = 0;
  int triples = 0;
  for (size_t t = 1; t + 1 < frames.size(); ++t) {
    const auto &before = frames[t - 1], &now = frames[t], &after = frames[t + 1];
    if (!before.has_value() || !now.has_value() || !after.has_value()) continue;
    double distance = 0;
    for (size_t i = 0; i < now->size(); ++i) {
      distance += std::hypot((*before)[i].x - 2 * (*now)[i].x + (*after)[i].x,
                             (*before)[i].y - 2 * (*now)[i].y + (*after)[i].y);
    }
    sum += distance / kNumLandmarks / InterOcularDistance(*now);
    ++triples;
  }
  if (triples == 0) return std::nullopt;
  return sum / triples;
}

}  // namespace reenact
