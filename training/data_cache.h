// The training pictures on disk: people drawn once, read by every training.
//
// A folder of shards "people-00000.safetensors", each with up to kPeoplePerShard people:
//   frames      uint8   [P,F,3,S,S]   pictures, RGB
//   landmarks   float32 [P,F,478,3]   exact landmarks, image-normalised
//   lookalikes  float32 [P,F,K,478,3] landmarks of K other people with the same pose and expression
//   found       float32 [P,F,1+K,478,3] the landmarks that the landmark network finds in the
//               picture and in one of each lookalike, as it does in a video whose face was there
//               before; NaN where it sees no face. Absent if nobody looked
//               (DataOptions::open_landmarker).
//   masks       uint8   [P,F,S,S]     1 in eyes and mouth (ExpressiveMask)
//   seeds       int64   [P]
// and metadata: format, size, captions (JSON: per person a list of phrasings).
// `curate` writes the same from videos: a segment for a person, a number for the seed, K = 0.
// Frames of a person are moments of one clip in order of time, at irregular distances, or each of a
// clip of its own (portraits).
#pragma once

#include <torch/torch.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pipeline/face/face_landmarker.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/image.h"
#include "training/people/people.h"

namespace reenact {

struct DataOptions {
  std::string out;  // folder, created if absent
  int64_t people = 2000;
  int frames = 8;  // kept of each clip
  int size = 128;  // pixels
  int supersampling = 2;
  int lookalikes = 2;  // K above
  int captions = 4;    // phrasings of each person's caption
  // Every frame is from a clip of its own: portraits, in poses as different as clips are.
  bool separate_clips = false;
  bool changed_looks = false;  // and every frame shows the person with other looks (ChangeLooks)
  // In this share of the frames the eyes are more or less closed and look anywhere, whatever the
  // clip's do: eyes are closed in 6 % of its frames, too few to learn them from. Changed looks
  // have eyes of their own, also beside portraits whose eyes play.
  double eye_play = 0;
  // In this share of the frames the head is turned anywhere, up to 40 degrees to the sides, 25 up
  // or down, 20 about the line of sight: in 2 % of a clip's frames it is turned by more than 30.
  // Changed looks turn as the portraits do.
  double head_play = 0;
  // Each person comes so many times, from the second on with other looks, and counts as so many
  // people: pairs that differ in a few things, which captions have to tell apart.
  int looks = 1;
  bool detailed_captions = false;  // every second phrasing
  int partial_captions = 0;        // so many kPartial ones on top
  Variety variety = Variety::kPlain;
  // Opens the landmark network that looks for the faces, one for each thread; null: nobody looks.
  std::function<absl::StatusOr<std::unique_ptr<FaceLandmarker>>()> open_landmarker;
  uint64_t first_seed = 0;  // people are first_seed .. first_seed + people - 1
  int threads = 1;
  const std::atomic<bool>* stop = nullptr;
};

// People from this seed on are never trained on.
inline constexpr uint64_t kFirstHeldOutSeed = 10'000'000;

inline constexpr int64_t kPeoplePerShard = 50;
inline constexpr char kDataFormat[] = "reenact-people-1";

// Draws what is missing; shards that exist with the same options are kept. The bytes do not depend
// on the number of threads.
absl::Status WriteDataCache(const DataOptions& options, std::ostream& log);

// What every training reads: drawn people and curated videos alike.
struct DataCache {
  torch::Tensor frames;      // uint8   [P,F,3,S,S]
  torch::Tensor landmarks;   // float32 [P,F,478,3]
  torch::Tensor lookalikes;  // float32 [P,F,K,478,3]
  torch::Tensor masks;       // uint8   [P,F,S,S]
  torch::Tensor found = {};  // float32 [P,F,1+K,478,3]; may be undefined
  std::vector<uint64_t> seeds;
  std::vector<std::vector<std::string>> captions;  // [P][phrasing]
  // Only of changed looks: [P][F][phrasing], from what a frame shows to how the person looks.
  std::vector<std::vector<std::vector<EditTexts>>> edits;

  int64_t num_people() const { return frames.size(0); }
  int64_t num_frames() const { return frames.size(1); }
  int64_t size() const { return frames.size(3); }
};

// At most `max_people` of the folder's people (0: all). kNotFound without shards; kInvalidArgument
// if a shard is damaged or the shards do not fit together.
absl::StatusOr<DataCache> ReadDataCache(const std::string& folder, int64_t max_people = 0);

// `frame` [478,3] float32 as Landmarks, and back into a contiguous one.
Landmarks ToLandmarks(const torch::Tensor& frame);
void StoreLandmarks(const Landmarks& landmarks, torch::Tensor frame);

// `frame` uint8 [3,S,S] as a picture.
Image ToImage(const torch::Tensor& frame);

}  // namespace reenact
