#include "pipeline/face/face_tracker.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"

namespace reenact {
namespace {

constexpr int kMaxTracks = 16;
constexpr int kMaxDepth = 2;
constexpr int kMaxFaces = 32;
constexpr size_t kMaxBystanders = 32;
constexpr size_t kMaxPeople = 32;  // remembered by one track

// Boxes that overlap more show one face.
constexpr float kSameFace = 0.4f;
// Frames between looks at who else is there, and between searches for one long lost.
constexpr int64_t kLookAround = 25;
constexpr int kLongLost = 12;
constexpr int64_t kLongLostSearch = 4;

// A face less like its person than this is doubted.
constexpr double kDoubt = 0.2;
// It is somebody else if it is this much (as odds) more like him.
constexpr double kSomebodyElse = 8;
// After as many frames of doubt without an explanation the person has changed his looks: the light
// did, or a cut was missed.
constexpr int kGiveIn = 25;
// The looks of a person follow him by this share a frame while he is like himself.
constexpr double kSure = 0.8;
constexpr float kLearn = 0.05f;
// A face lost for no longer than this, found where it was, needs to be no more like its person.
constexpr int kShortLoss = 12;
constexpr double kSamePlaceLikeness = 0.1;
// One who is lost for long is taken back with less.
constexpr double kLongLostLikeness = 0.2;

double Odds(double probability) { return probability / std::max(1 - probability, 1e-9); }

}  // namespace

absl::Status FaceTracker::Check(const Options& options) {
  if (options.faces.empty() || options.faces.size() > kMaxTracks) {
    return absl::InvalidArgumentError(
        absl::StrCat("faces must be 1..", kMaxTracks, " choices, are ", options.faces.size()));
  }
  if (options.depth < 0 || options.depth > kMaxDepth) {
    return absl::InvalidArgumentError(
        absl::StrCat("depth must be 0..", kMaxDepth, ", is ", options.depth));
  }
  for (size_t i = 0; i < options.faces.size(); ++i) {
    if (const absl::Status status = CheckFaceChoice(options.faces[i]); !status.ok()) {
      return absl::Status(status.code(), absl::StrCat("faces[", i, "]: ", status.message()));
    }
  }
  return absl::OkStatus();
}

FaceTracker::FaceTracker(const Options& options, FaceLandmarker& landmarker)
    : options_(options), landmarker_(landmarker), tracks_(options.faces.size()) {}

void FaceTracker::Reset() {
  cuts_.Reset();
  tracks_.assign(options_.faces.size(), Track());
  bystanders_.clear();
  frame_ = last_search_ = 0;
  fresh_scene_ = true;
  num_faces_ = 0;
}

double FaceTracker::LikenessTo(const Person& person,
                               const std::optional<FaceSignature>& signature) {
  if (!signature.has_value()) return 0;
  return std::max(Likeness(person.first, *signature), Likeness(person.now, *signature));
}

absl::StatusOr<TrackedFrame> FaceTracker::Next(const Image& image) {
  TrackedFrame frame;
  frame.cut = cuts_.Next(image);
  if (frame.cut) {
    fresh_scene_ = true;
    bystanders_.clear();
    for (Track& track : tracks_) {
      track.last.reset();
      track.num_doubted = 0;
    }
  }
  std::vector<std::optional<Seen>> seen(tracks_.size());
  if (const absl::Status status = FollowAll(image, seen); !status.ok()) return status;
  bool search = CheckWho(seen);
  for (size_t i = 0; i < tracks_.size(); ++i) {
    if (seen[i].has_value()) continue;
    search = search || tracks_[i].num_lost <= kLongLost || frame_ % kLongLostSearch == 0;
  }
  if (search || fresh_scene_ || frame_ - last_search_ >= kLookAround) {
    if (const absl::Status status = Search(image, fresh_scene_, seen); !status.ok()) return status;
    last_search_ = frame_;
  }
  for (size_t i = 0; i < tracks_.size(); ++i) {
    Track& track = tracks_[i];
    TrackedFace face;
    if (seen[i].has_value()) {
      Meet(track, *seen[i]);
      face.landmarks = seen[i]->result.landmarks;
      face.confidence = seen[i]->result.score;
      face.likeness = seen[i]->likeness;
      fresh_scene_ = false;
    } else {
      track.last.reset();
      ++track.num_lost;
      track.num_doubted = 0;
    }
    face.box = track.box;
    if (!track.people.empty()) face.person = track.people[track.person].number;
    frame.faces.push_back(face);
  }
  frame.num_faces = num_faces_;
  ++frame_;
  return frame;
}

absl::Status FaceTracker::FollowAll(const Image& image, std::vector<std::optional<Seen>>& seen) {
  for (size_t i = 0; i < tracks_.size(); ++i) {
    Track& track = tracks_[i];
    if (!track.last.has_value()) continue;
    auto result = landmarker_.Follow(image, *track.last);
    if (!result.ok()) return result.status();
    if (!result->has_value()) continue;
    Seen face;
    face.result = *std::move(*result);
    face.box = BoxOf(face.result.landmarks);
    face.signature = SignFace(image, face.result.landmarks);
    face.likeness = LikenessTo(track.people[track.person], face.signature);
    seen[i] = std::move(face);
  }
  return absl::OkStatus();
}

bool FaceTracker::CheckWho(std::vector<std::optional<Seen>>& seen) {
  bool search = false;
  // Two tracks on one face: it belongs to the one it is more like.
  for (size_t i = 0; i < seen.size(); ++i) {
    for (size_t k = i + 1; k < seen.size() && seen[i].has_value(); ++k) {
      if (!seen[k].has_value()) continue;
      if (!(IntersectionOverUnion(seen[i]->box, seen[k]->box) > kSameFace)) continue;
      seen[seen[i]->likeness < seen[k]->likeness ? i : k].reset();
      search = true;
    }
  }
  for (size_t i = 0; i < seen.size(); ++i) {
    if (!seen[i].has_value()) continue;
    search = search || seen[i]->likeness < kDoubt;
    if (!seen[i]->signature.has_value()) continue;
    double other = 0;
    for (const FaceSignature& bystander : bystanders_) {
      other = std::max(other, Likeness(bystander, *seen[i]->signature));
    }
    for (size_t k = 0; k < tracks_.size(); ++k) {
      if (k == i || tracks_[k].people.empty()) continue;
      other = std::max(other, LikenessTo(tracks_[k].people[tracks_[k].person], seen[i]->signature));
    }
    if (other >= kSamePerson && Odds(other) > kSomebodyElse * Odds(seen[i]->likeness)) {
      seen[i].reset();
      search = true;
    }
  }
  return search;
}

absl::Status FaceTracker::Search(const Image& image, bool fresh,
                                 std::vector<std::optional<Seen>>& seen) {
  auto faces = FindFaces(landmarker_, image, options_.depth, kMaxFaces);
  if (!faces.ok()) return faces.status();
  num_faces_ = static_cast<int>(faces->size());

  // Which faces are already followed, by somebody who is surely theirs.
  std::vector<bool> taken(faces->size(), false);
  std::vector<bool> doubted(tracks_.size(), false);
  for (size_t i = 0; i < tracks_.size(); ++i) {
    if (!seen[i].has_value()) continue;
    doubted[i] = seen[i]->likeness < kDoubt;
    for (size_t f = 0; f < faces->size(); ++f) {
      if (IntersectionOverUnion((*faces)[f].box, seen[i]->box) > kSameFace) taken[f] = true;
    }
  }

  const auto take = [&](size_t track, size_t person, size_t face, double likeness) {
    FoundFace& found = (*faces)[face];
    tracks_[track].person = person;
    seen[track] = Seen{std::move(found.result), found.box, found.signature, likeness};
    taken[face] = true;
    doubted[track] = false;
  };

  // Everybody who is missing, or may be somebody else, to the face most like him.
  while (true) {
    double best = 0;
    size_t best_track = 0, best_face = 0, best_person = 0;
    for (size_t i = 0; i < tracks_.size(); ++i) {
      const Track& track = tracks_[i];
      if (seen[i].has_value() && !doubted[i]) continue;
      for (size_t p = 0; p < track.people.size(); ++p) {
        // Only a new scene brings back one who was followed before.
        if (!fresh && p != track.person) continue;
        for (size_t f = 0; f < faces->size(); ++f) {
          if (taken[f]) continue;
          const double likeness = LikenessTo(track.people[p], (*faces)[f].signature);
          const bool same_place = IntersectionOverUnion(track.box, (*faces)[f].box) > kSameFace;
          double needed = kSamePerson;
          if (fresh) {
            // A flash may have been taken for a cut.
            if (same_place && p == track.person) needed = kLongLostLikeness;
          } else if (!seen[i].has_value()) {
            if (track.num_lost <= kShortLoss && same_place) {
              needed = kSamePlaceLikeness;
            } else if (track.num_lost > kGiveIn) {
              needed = kLongLostLikeness;
            }
            double other = 0;
            for (const FaceSignature& bystander : bystanders_) {
              if ((*faces)[f].signature.has_value()) {
                other = std::max(other, Likeness(bystander, *(*faces)[f].signature));
              }
            }
            if (Odds(other) > kSomebodyElse * Odds(likeness)) needed = 1;
          }
          if (likeness >= needed && likeness > best) {
            best = likeness;
            best_track = i, best_face = f, best_person = p;
          }
        }
      }
    }
    if (best == 0) break;
    take(best_track, best_person, best_face, best);
  }

  // Those who were never chosen, and, in a new scene, those of whom there is none.
  std::vector<FaceChoice> choices;
  std::vector<size_t> choosers;
  for (size_t i = 0; i < tracks_.size(); ++i) {
    if (seen[i].has_value()) continue;
    const FaceChoice& choice = options_.faces[i];
    const bool anew = fresh && options_.choose_after_cut && choice.by != FaceChoice::By::kReference;
    if (!tracks_[i].people.empty() && !anew) continue;
    choices.push_back(choice);
    choosers.push_back(i);
  }
  if (!choices.empty()) {
    std::vector<FoundFace> free;
    std::vector<size_t> free_index;
    for (size_t f = 0; f < faces->size(); ++f) {
      if (taken[f]) continue;
      free.push_back((*faces)[f]);
      free_index.push_back(f);
    }
    const auto chosen = ChooseFaces(free, choices, image.width, image.height);
    for (size_t c = 0; c < choices.size(); ++c) {
      if (!chosen[c].has_value() || !free[*chosen[c]].signature.has_value()) continue;
      Track& track = tracks_[choosers[c]];
      Person person = {*free[*chosen[c]].signature, *free[*chosen[c]].signature};
      if (choices[c].by == FaceChoice::By::kReference) person.first = *choices[c].reference;
      person.number = track.num_people++;
      size_t slot = track.people.size();
      if (slot < kMaxPeople) {
        track.people.push_back(person);
      } else {
        slot = 1 + static_cast<size_t>(person.number - 1) % (kMaxPeople - 1);
        track.people[slot] = person;
      }
      take(choosers[c], slot, free_index[*chosen[c]], 1);
    }
  }

  // The rest is who else is there.
  for (size_t f = 0; f < faces->size(); ++f) {
    if (taken[f] || !(*faces)[f].signature.has_value()) continue;
    const FaceSignature& signature = *(*faces)[f].signature;
    const auto known =
        std::max_element(bystanders_.begin(), bystanders_.end(),
                         [&signature](const FaceSignature& a, const FaceSignature& b) {
                           return Likeness(a, signature) < Likeness(b, signature);
                         });
    if (known != bystanders_.end() && Likeness(*known, signature) > kSure) {
      Learn(*known, signature, kLearn);
    } else if (bystanders_.size() < kMaxBystanders) {
      bystanders_.push_back(signature);
    }
  }
  return absl::OkStatus();
}

void FaceTracker::Meet(Track& track, Seen& seen) {
  Person& person = track.people[track.person];
  track.last = seen.result.landmarks;
  track.box = seen.box;
  track.num_lost = 0;
  if (seen.likeness >= kDoubt) {
    track.num_doubted = 0;
  } else if (++track.num_doubted > kGiveIn && seen.signature.has_value()) {
    person.now = *seen.signature;
    track.num_doubted = 0;
  }
  if (seen.likeness >= kSure && seen.signature.has_value()) {
    Learn(person.now, *seen.signature, kLearn);
  }
}

}  // namespace reenact
