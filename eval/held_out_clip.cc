#include "eval/held_out_clip.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "pipeline/media/image_codec.h"
#include "pipeline/media/video_writer.h"
#include "training/people/random.h"

namespace reenact {
namespace {

// Streams of Random for what is drawn beside the person.
constexpr uint64_t kPortraitStream = 0x7265616c, kDrivingStream = 0x64726976;

// Milliseconds are fine enough for any rate.
constexpr int32_t kTimeBaseDen = 1000;

uint64_t PersonSeed(const HeldOutOptions& options, int index) {
  return options.first_seed + static_cast<uint64_t>(index % options.num_people);
}

FaceState PortraitState(const HeldOutOptions& options, int index) {
  const uint64_t seed = Random(PersonSeed(options, index), kPortraitStream).Next();
  return MakeClip(seed, 1, options.fps).front();
}

// `clip_seed`: of the driver, for his motion.
absl::StatusOr<HeldOutClip> DrawClip(const HeldOutOptions& options, int index, const Person& source,
                                     const Person& driver, uint64_t clip_seed) {
  HeldOutClip clip;
  clip.index = index;
  clip.source = source;
  clip.driver = driver;
  const PersonRenderer source_renderer(source);
  const FaceState portrait = PortraitState(options, index);
  clip.portrait = source_renderer.Draw(portrait, options.size).image;
  clip.portrait_regions =
      RegionPicture(source_renderer.DrawTruth(portrait, options.size), options.size);
  auto png = EncodePng(clip.portrait);
  if (!png.ok()) return png.status();
  clip.portrait_png = *std::move(png);

  clip.states = MakeClip(Random(clip_seed, kDrivingStream).Next(), options.num_frames, options.fps);
  const PersonRenderer driver_renderer(driver);
  for (const FaceState& state : clip.states) {
    Render truth = source_renderer.Draw(state, options.size);
    clip.driving.push_back(
        driver.seed != source.seed ? driver_renderer.Draw(state, options.size).image : truth.image);
    clip.truth.push_back(std::move(truth.image));
    clip.truth_landmarks.push_back(truth.landmarks);
    clip.regions.push_back(
        RegionPicture(source_renderer.DrawTruth(state, options.size), options.size));
  }
  auto mp4 = EncodeDriving(clip.driving, options.fps);
  if (!mp4.ok()) return mp4.status();
  clip.driving_mp4 = *std::move(mp4);
  return clip;
}

}  // namespace

Image RegionPicture(const Truth& truth, int size) {
  Image picture{size, size, std::vector<uint8_t>(truth.regions.size() * 3, 0)};
  for (size_t i = 0; i < truth.regions.size(); ++i) {
    switch (truth.regions[i]) {
      case Region::kSkin:
      case Region::kNeck:
      case Region::kEars:
        picture.rgb[3 * i] = 255;
        break;
      case Region::kHair:
        picture.rgb[3 * i + 1] = 255;
        break;
      case Region::kClothes:
        picture.rgb[3 * i + 2] = 255;
        break;
      default:
        break;
    }
  }
  return picture;
}

Image DrawPortrait(const HeldOutOptions& options, int index) {
  const Person person = MakePerson(PersonSeed(options, index), options.variety);
  return PersonRenderer(person).Draw(PortraitState(options, index), options.size).image;
}

absl::StatusOr<HeldOutClip> DrawHeldOutClipOf(const Person& person, const HeldOutOptions& options,
                                              int index) {
  return DrawClip(options, index, person, person, PersonSeed(options, index));
}

absl::StatusOr<std::string> EncodeDriving(const std::vector<Image>& frames, double fps) {
  VideoWriter::Options options;
  options.width = frames.front().width;
  options.height = frames.front().height;
  options.codec = VideoCodec::kLossless;
  options.speed = EncodingSpeed::kFastest;
  options.time_base_den = kTimeBaseDen;
  options.frame_rate_num = std::max(static_cast<int32_t>(std::lround(fps)), 1);
  auto writer = VideoWriter::Create(std::move(options));
  if (!writer.ok()) return writer.status();
  std::string file;
  const auto append = [&file](const absl::StatusOr<std::vector<VideoWriter::Piece>>& pieces) {
    if (!pieces.ok()) return pieces.status();
    for (const VideoWriter::Piece& piece : *pieces) file += piece.data;
    return absl::OkStatus();
  };
  const auto time = [fps](size_t i) {
    return static_cast<int64_t>(std::llround(static_cast<double>(i) * kTimeBaseDen / fps));
  };
  for (size_t i = 0; i < frames.size(); ++i) {
    const absl::Status status = append((*writer)->Write(frames[i], time(i), time(i + 1) - time(i)));
    if (!status.ok()) return status;
  }
  if (const absl::Status status = append((*writer)->Finish()); !status.ok()) return status;
  return file;
}

absl::StatusOr<HeldOutClip> DrawHeldOutClip(const HeldOutOptions& options, int index, bool cross) {
  const uint64_t driver_seed = PersonSeed(options, cross ? index + 1 : index);
  return DrawClip(options, index, MakePerson(PersonSeed(options, index), options.variety),
                  MakePerson(driver_seed, options.variety), driver_seed);
}

}  // namespace reenact
