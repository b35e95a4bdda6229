// A video as a source: the frame that shows a face best, and where the face is in all of them.
//
// The first pass, ReadFrame by ReadFrame, looks at every frame once and keeps of pictures only the
// best one of each face. Then the faces' squares are settled in those pictures (Settle), and
// SourceClip gives what is put back where, decoding the frames a second time.
//
// Thread-compatible.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "pipeline/face/crop.h"
#include "pipeline/face/face_choice.h"
#include "pipeline/face/face_landmarker.h"
#include "pipeline/face/face_tracker.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/image.h"
#include "pipeline/media/video_reader.h"
#include "pipeline/source/face_path.h"
#include "pipeline/source/source_frames.h"

namespace reenact {

// How well a picture shows a face, to be compared with other pictures of it: surely found, seen
// from the front, mouth closed and eyes open, large and sharp. Above 0. `landmarks` in units of
// the picture. Takes a millisecond.
double FaceQuality(const Image& image, const Landmarks& landmarks, double confidence);

// What is shown at a time, and where the faces' squares are in it.
class SourceClip {
 public:
  SourceClip(SourceFrames frames, std::vector<FacePath> paths, int width, int height)
      : frames_(std::move(frames)), paths_(std::move(paths)), width_(width), height_(height) {}

  int width() const { return width_; }
  int height() const { return height_; }
  int IndexAt(double seconds) const { return frames_.IndexAt(seconds); }
  // As SourceFrames::Frame.
  absl::StatusOr<const Image*> Frame(int index) { return frames_.Frame(index); }
  const FacePath& path(size_t face) const { return paths_[face]; }

 private:
  SourceFrames frames_;
  std::vector<FacePath> paths_;
  int width_, height_;
};

class SourceVideo {
 public:
  struct Options {
    VideoLimits limits;
    std::vector<FaceChoice> faces = std::vector<FaceChoice>(1);  // chosen where they first appear
    bool keeps_places = false;                                   // for TakeClip
  };
  // Takes the whole file. kInvalidArgument, kResourceExhausted: as VideoReader::Open.
  static absl::StatusOr<std::unique_ptr<SourceVideo>> Open(
      std::string bytes, const Options& options, std::unique_ptr<FaceLandmarker> landmarker);

  // Reads the next frame. False: there was none, and what follows is known.
  absl::StatusOr<bool> ReadFrame();

  struct BestFrame {
    int index = 0;
    double seconds = 0;  // after the first frame
    Image image;
    Landmarks landmarks;  // in units of the picture
    double quality = 0;
  };
  // None: the face is never seen.
  const std::optional<BestFrame>& best(size_t face) const { return best_[face]; }

  // One box per face, in its best frame; every face has one. Once, if keeps_places.
  std::unique_ptr<SourceClip> TakeClip(const std::vector<CropBox>& boxes);

  // For the caller, sentences about the video.
  std::vector<std::string> Notes() const;
  absl::Duration decode_time() const { return decode_time_; }
  absl::Duration landmark_time() const { return landmark_time_; }

 private:
  SourceVideo(const Options& options, std::unique_ptr<FaceLandmarker> landmarker);

  const Options options_;
  std::unique_ptr<FaceLandmarker> landmarker_;
  FaceTracker tracker_;
  std::string bytes_;  // if keeps_places
  std::unique_ptr<VideoReader> reader_;
  std::vector<std::optional<BestFrame>> best_;
  std::vector<FacePath> paths_;
  std::vector<double> starts_;
  double duration_ = 0;
  int64_t first_pts_ = 0;
  int num_guessed_ = 0, num_without_ = 0;
  absl::Duration decode_time_, landmark_time_;
};

}  // namespace reenact
