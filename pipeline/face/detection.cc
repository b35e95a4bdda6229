#include "pipeline/face/detection.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace reenact {

std::vector<Point3> DetectorAnchors() {
  struct Layer {
    int cells, anchors_per_cell;
  };
  std::vector<Point3> anchors;
  for (const Layer layer : {Layer{16, 2}, Layer{8, 6}}) {
    const auto cells = static_cast<float>(layer.cells);
    for (int y = 0; y < layer.cells; ++y) {
      for (int x = 0; x < layer.cells; ++x) {
        const Point3 center = {(static_cast<float>(x) + 0.5f) / cells,
                               (static_cast<float>(y) + 0.5f) / cells, 0};
        anchors.insert(anchors.end(), static_cast<size_t>(layer.anchors_per_cell), center);
      }
    }
  }
  return anchors;
}

std::vector<Detection> DecodeDetections(absl::Span<const float> boxes,
                                        absl::Span<const float> logits,
                                        const std::vector<Point3>& anchors, float min_score) {
  constexpr float kMaxLogit = 100;
  constexpr auto kSide = static_cast<float>(kDetectorSide);
  std::vector<Detection> detections;
  for (size_t i = 0; i < anchors.size(); ++i) {
    const float logit = std::clamp(logits[i], -kMaxLogit, kMaxLogit);
    const float score = 1 / (1 + std::exp(-logit));
    if (!(score >= min_score)) continue;
    const float* raw = &boxes[i * kNumCoordinates];
    const Point3& anchor = anchors[i];
    const float center_x = raw[0] / kSide + anchor.x;
    const float center_y = raw[1] / kSide + anchor.y;
    const float width = raw[2] / kSide;
    const float height = raw[3] / kSide;
    if (!(width >= 0 && height >= 0) || !std::isfinite(center_x + center_y + width + height)) {
      continue;
    }
    Detection detection;
    detection.box = {center_x - width / 2, center_y - height / 2, center_x + width / 2,
                     center_y + height / 2};
    for (int k = 0; k < kNumKeypoints; ++k) {
      detection.keypoints[k] = {raw[4 + 2 * k] / kSide + anchor.x,
                                raw[5 + 2 * k] / kSide + anchor.y, 0};
    }
    detection.score = score;
    detections.push_back(detection);
  }
  return detections;
}

std::vector<Detection> MergeOverlapping(std::vector<Detection> detections, float max_overlap) {
  std::stable_sort(detections.begin(), detections.end(),
                   [](const Detection& a, const Detection& b) { return a.score > b.score; });
  std::vector<Detection> merged;
  while (!detections.empty()) {
    const Detection best = detections.front();
    std::vector<Detection> others;
    Detection sum;
    for (const Detection& detection : detections) {
      if (!(IntersectionOverUnion(best.box, detection.box) > max_overlap)) {
        others.push_back(detection);
        continue;
      }
      const float weight = detection.score;
      sum.score += weight;
      sum.box.left += weight * detection.box.left;
      sum.box.top += weight * detection.box.top;
      sum.box.right += weight * detection.box.right;
      sum.box.bottom += weight * detection.box.bottom;
      for (int k = 0; k < kNumKeypoints; ++k) {
        sum.keypoints[k].x += weight * detection.keypoints[k].x;
        sum.keypoints[k].y += weight * detection.keypoints[k].y;
      }
    }
    // A box without area overlaps nothing, not even itself: it stands alone and ends the search.
    if (!(sum.score > 0)) {
      merged.push_back(best);
      break;
    }
    Detection mean = best;
    mean.box = {sum.box.left / sum.score, sum.box.top / sum.score, sum.box.right / sum.score,
                sum.box.bottom / sum.score};
    for (int k = 0; k < kNumKeypoints; ++k) {
      mean.keypoints[k].x = sum.keypoints[k].x / sum.score;
      mean.keypoints[k].y = sum.keypoints[k].y / sum.score;
    }
    merged.push_back(mean);
    detections = std::move(others);
  }
  return merged;
}

}  // namespace reenact
