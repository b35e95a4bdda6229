#include "training/curation/segments.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace reenact {

FaceBox BoxOf(const Landmarks& landmarks, int width, int height) {
  FaceBox box{1e9, 1e9, -1e9, -1e9};
  for (const Point3& point : landmarks) {
    const double x = static_cast<double>(point.x) * width,
                 y = static_cast<double>(point.y) * height;
    box.left = std::min(box.left, x);
    box.right = std::max(box.right, x);
    box.top = std::min(box.top, y);
    box.bottom = std::max(box.bottom, y);
  }
  return box;
}

SegmentFinder::SegmentFinder(const SegmentRules& rules, int width, int height)
    : rules_(rules), width_(width), height_(height) {}

void SegmentFinder::Add(double begin, double end, bool is_cut,
                        const std::optional<Landmarks>& face) {
  const int64_t frame = next_frame_++;
  if (is_cut) Close("cut");
  if (!face) {
    Close("no face");
    return;
  }
  ++frames_with_face_;
  const FaceBox box = BoxOf(*face, width_, height_);
  if (box.side() < rules_.min_face) {
    Close("small face");
    return;
  }
  if (open_) {
    const double side = last_box_.side();
    const double shift = std::hypot(box.left + box.right - last_box_.left - last_box_.right,
                                    box.top + box.bottom - last_box_.top - last_box_.bottom) /
                         2;
    if (shift > rules_.max_shift * side || std::abs(box.side() - side) > rules_.max_growth * side) {
      Close("jump");
    }
  }
  if (open_ && end - open_->begin > rules_.max_seconds) Close("length");
  if (!open_) open_ = Segment{.first_frame = frame, .begin = begin, .end = begin, .landmarks = {}};
  open_->end = end;
  open_->landmarks.push_back(*face);
  last_box_ = box;
}

std::vector<Segment> SegmentFinder::Finish() {
  Close("end");
  return std::move(found_);
}

void SegmentFinder::Close(const std::string& why) {
  if (!open_) return;
  if (open_->end - open_->begin > rules_.min_seconds) {
    found_.push_back(*std::move(open_));
  } else {
    ++too_short_[why];
  }
  open_.reset();
}

}  // namespace reenact
