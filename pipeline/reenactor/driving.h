// The driving side of a job: a file or live pictures go in, one record per frame comes out, in
// order. Pictures are looked at one by one and dropped (face_source.h).
//
// Several faces may be followed at once, each another person (face_tracker.h). A frame comes out
// when it is certain what all of them do in it.
//
// Thread-compatible.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "pipeline/driving/face_source.h"
#include "pipeline/face/face_choice.h"
#include "pipeline/face/face_landmarker.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/media/audio_track.h"
#include "pipeline/media/video_reader.h"
#include "pipeline/reenactor/driven_face.h"
#include "pipeline/reenactor/driver_motion.h"
#include "pipeline/types.h"

namespace reenact {

class Driving {
 public:
  struct Options {
    int64_t max_bytes = 0;  // of a file
    int max_frames = 0;     // of a file
    int max_pixels = 0;     // of a frame
    NoFacePolicy no_face = NoFacePolicy::kInterpolate;
    std::optional<int> crop_frames;  // DrivenFace::Options
    bool read_audio = false;
    std::optional<LiveOptions> live;  // empty: a file. kInterpolate then means kHold
  };
  // A face that is followed.
  struct Face {
    FaceChoice choice;
    DriverMotion motion;  // makes of its landmarks what the frames have
    std::string name;     // DrivenFace::Options
  };
  // `landmarker` finds the faces, of which there is at least one.
  Driving(const Options& options, std::unique_ptr<FaceLandmarker> landmarker,
          std::vector<Face> faces);

  // As EngineJob's methods of the same names.
  absl::Status AddBytes(std::string_view bytes);
  absl::Status AddFrame(LiveFrame frame);
  absl::Status Finish();

  struct Frame {
    int64_t pts = 0;
    // 1 or more; 0 if it is not known before the next frame's pts is.
    int64_t duration = 0;
    absl::Time arrived;            // of a live frame
    std::vector<Landmarks> faces;  // one per face, in units of its source's crop
  };

  enum class Event {
    kFrame,       // a frame was read
    kNeedsInput,  // there is none before more comes in
    kEnd,         // that was the last
  };
  // Reads the next frame. Appends to `decided` those frames whose landmarks are now certain: none,
  // one, or many at once after a gap. kInvalidArgument, kResourceExhausted: the media is bad or too
  // much; the message names it.
  absl::StatusOr<Event> ReadFrame(std::vector<Frame>* decided);

  // Known once a frame has been read. Of live driving only the size and the time base.
  const VideoInfo& info() const { return info_; }
  // Frames that have been read.
  int64_t num_frames() const { return faces_[0].num_frames(); }
  // The file's sound, if read_audio; to be taken once, after the first frame.
  std::optional<AudioTrack> TakeAudio() { return std::exchange(audio_, std::nullopt); }

  // Complete after kEnd.
  const std::vector<DrivenFace>& faces() const { return faces_; }
  const std::vector<std::string>& notes() const { return notes_; }
  absl::Duration decode_time() const { return decode_time_; }
  absl::Duration landmark_time() const { return landmark_time_; }

 private:
  FaceSourceOptions SourceOptions() const;
  // Opens the file that is there.
  absl::Status Open();
  absl::Status Take(const FaceSource::Frame& frame);
  void TakeDecided(std::vector<Frame>* decided);

  const Options options_;
  std::unique_ptr<FaceLandmarker> landmarker_;  // until there is a source, which owns it then
  std::vector<FaceChoice> choices_;             // one per face
  std::vector<DrivenFace> faces_;

  bool finished_ = false;
  std::string bytes_;  // of the file, until it is opened
  // Until the end: it holds the networks' weights.
  std::unique_ptr<FaceSource> source_;
  LiveFaceSource* live_ = nullptr;  // source_ of live driving
  VideoInfo info_;
  std::optional<AudioTrack> audio_;
  std::deque<Frame> undecided_;                 // without landmarks
  std::vector<std::deque<Landmarks>> certain_;  // by face, of the first of those
  std::vector<std::string> notes_;
  absl::Duration decode_time_, landmark_time_;
  absl::Duration fill_time_;  // of landmark_time_, after the source
};

}  // namespace reenact
