// Follows chosen faces through a video: the same person from frame to frame, past others who cross,
// after a loss and over cuts.
//
// A face is looked for where it was in the frame before (FaceLandmarker::Follow()), so with one
// face in the picture the numbers are Track()'s. Who it is is checked by its signature
// (face_signature.h): against the person followed, against the other faces tracked, and against
// bystanders seen in searches. A face that turns out to be somebody else is lost, not swapped. A
// lost face is searched for in every frame at first, and taken back where it resembles the person
// followed; one frame after a cut at the latest, if it is there at all.
//
// Limits are the signature's: two people of the same build and colouring cannot be told apart by
// it, only by where they were. After a cut to a scene without anybody who resembles the person
// followed, the choice is made anew unless it was by reference (`Options::choose_after_cut`); the
// face then carries another person number, and the first one again if the first person comes back.
//
// Thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "pipeline/face/face_choice.h"
#include "pipeline/face/face_landmarker.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/face/roi.h"
#include "pipeline/face/scene_cut.h"
#include "pipeline/image.h"

namespace reenact {

// One chosen face in one frame.
struct TrackedFace {
  // In units of the picture. No value: lost in this frame.
  std::optional<Landmarks> landmarks;
  // Probability that there is a face, 0.5 to 1; 0 if lost.
  float confidence = 0;
  // Of the landmarks, in units of the picture; where it was last if lost.
  Box box;
  // Who: 0 is the first person chosen. Changes only where the choice was made anew.
  int person = 0;
  // Likeness() to that person as known so far; 0 if lost.
  double likeness = 0;
};

struct TrackedFrame {
  bool cut = false;  // it begins a new scene
  // Faces seen anywhere when last searched for, this frame or before.
  int num_faces = 0;
  std::vector<TrackedFace> faces;  // one per choice
};

class FaceTracker {
 public:
  struct Options {
    // Who is followed, each another person. 1 to 16.
    std::vector<FaceChoice> faces = {FaceChoice{}};
    // How thoroughly a search looks: FaceLandmarker::Search(). 0 to 2.
    int depth = 1;
    // Whether to choose anew after a cut to people of whom none resembles the one followed.
    bool choose_after_cut = true;
  };

  // kInvalidArgument naming the field, its value and its range.
  static absl::Status Check(const Options& options);

  // `options` must pass Check(). `landmarker` must outlive the tracker; between calls of Next() it
  // may be used for other pictures.
  FaceTracker(const Options& options, FaceLandmarker& landmarker);

  // The next frame. kInvalidArgument: the image is empty or inconsistent.
  absl::StatusOr<TrackedFrame> Next(const Image& image);

  // Forgets everything: the next frame is the first of another video.
  void Reset();

 private:
  struct Person {
    FaceSignature first, now;  // as chosen, and following him slowly
    int number = 0;
  };
  struct Track {
    std::vector<Person> people;  // empty: not chosen yet
    size_t person = 0;           // whom it follows of them
    int num_people = 0;          // chosen so far; the oldest but the first are forgotten
    std::optional<Landmarks> last;
    Box box;
    int num_lost = 0;     // frames since he was seen
    int num_doubted = 0;  // frames in a row in which he did not resemble himself
  };
  // A face some track follows in this frame.
  struct Seen {
    FaceLandmarker::Result result;
    Box box;
    std::optional<FaceSignature> signature;
    double likeness = 1;
  };

  absl::Status FollowAll(const Image& image, std::vector<std::optional<Seen>>& seen);
  // Whether the faces seen are whom they should be; takes those away that are not. Returns whether
  // to search.
  bool CheckWho(std::vector<std::optional<Seen>>& seen);
  absl::Status Search(const Image& image, bool cut, std::vector<std::optional<Seen>>& seen);
  void Meet(Track& track, Seen& seen);
  static double LikenessTo(const Person& person, const std::optional<FaceSignature>& signature);

  const Options options_;
  FaceLandmarker& landmarker_;
  SceneCutDetector cuts_;
  std::vector<Track> tracks_;
  std::vector<FaceSignature> bystanders_;
  int64_t frame_ = 0;
  int64_t last_search_ = 0;
  bool fresh_scene_ = true;  // nobody was found yet since the cut
  int num_faces_ = 0;
};

}  // namespace reenact
