// The people that are measured on: a source portrait and a driving clip of synthetic people that
// were never trained on, and the truth about every frame. Everything is a pure function of the
// seeds.
//
// A source portrait is a frame of another clip than the driving one, as a user's photograph is.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/image.h"
#include "training/people/people.h"

namespace reenact {

struct HeldOutOptions {
  uint64_t first_seed = 0;  // of the people: clip i shows first_seed + i
  int num_people = 1;       // the driver of the last clip is the first clip's person
  int num_frames = 8;
  double fps = 25;
  int size = 256;  // pixels of portrait and driving video
  Variety variety = Variety::kPlain;
};

// One clip as its files and its truth; P = `size` pixels. Landmarks are in units of the picture.
struct HeldOutClip {
  int index = 0;
  Person source, driver;
  Image portrait;          // P x P
  Image portrait_regions;  // as `regions`
  std::string portrait_png;
  std::vector<Image> driving;  // P x P
  std::string driving_mp4;     // the same, without loss
  std::vector<FaceState> states;

  // What the driver's motion looks like on the source's person, in the driver's place: exact. Where
  // both are one person, the driving frames.
  std::vector<Image> truth;
  std::vector<Landmarks> truth_landmarks;
  // Where the truth shows skin (neck and ears too), hair and clothes: 255 in red, green and blue.
  std::vector<Image> regions;
};

// `cross`: the next person drives, in the clip in which he drives himself.
absl::StatusOr<HeldOutClip> DrawHeldOutClip(const HeldOutOptions& options, int index, bool cross);

// Clip `index` as its person would be with the looks of `person`, who also drives.
absl::StatusOr<HeldOutClip> DrawHeldOutClipOf(const Person& person, const HeldOutOptions& options,
                                              int index);

// The portrait of clip `index` alone.
Image DrawPortrait(const HeldOutOptions& options, int index);

// Frames as a video file without loss.
absl::StatusOr<std::string> EncodeDriving(const std::vector<Image>& frames, double fps);

// The regions of `truth` as HeldOutClip::regions.
Image RegionPicture(const Truth& truth, int size);

}  // namespace reenact
