// The driving side of a job: a file or live pictures go in, one record per frame comes out, in
// order. Pictures are looked at one by one and dropped (face_source.h).
//
// Thread-compatible.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "pipeline/driving/face_source.h"
#include "pipeline/face/crop.h"
#include "pipeline/face/face_choice.h"
#include "pipeline/face/face_landmarker.h"
#include "pipeline/face/face_timeline.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/media/audio_track.h"
#include "pipeline/media/video_reader.h"
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
    FaceChoice face;
    // The driver's crop is that of so many first frames, so that frames can be used while others
    // are still to come. Empty: of the whole clip.
    std::optional<int> crop_frames;
    bool read_audio = false;
    std::optional<LiveOptions> live;  // empty: a file. kInterpolate then means kHold
  };
  // `landmarker` finds the faces; `motion` makes of their landmarks what the frames have.
  Driving(const Options& options, std::unique_ptr<FaceLandmarker> landmarker, DriverMotion motion);

  // As EngineJob's methods of the same names.
  absl::Status AddBytes(std::string_view bytes);
  absl::Status AddFrame(LiveFrame frame);
  absl::Status Finish();

  struct Frame {
    int64_t pts = 0;
    // 1 or more; 0 if it is not known before the next frame's pts is.
    int64_t duration = 0;
    absl::Time arrived;   // of a live frame
    Landmarks landmarks;  // in units of the source's crop
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
  int64_t num_frames() const { return timeline_.num_frames(); }
  // The file's sound, if read_audio; to be taken once, after the first frame.
  std::optional<AudioTrack> TakeAudio() { return std::exchange(audio_, std::nullopt); }

  // Complete after kEnd.
  const std::vector<FrameNote>& frame_notes() const { return frame_notes_; }
  const std::vector<FrameFace>& frame_faces() const { return frame_faces_; }
  const std::vector<std::string>& notes() const { return notes_; }
  absl::Duration decode_time() const { return decode_time_; }
  absl::Duration landmark_time() const { return landmark_time_; }

 private:
  FaceSourceOptions SourceOptions() const;
  // Opens the file that is there.
  absl::Status Open();
  absl::Status Take(const FaceSource::Frame& frame);
  // Settles the crop if enough is known.
  void MaybeCrop(bool end);
  void NoteFace(int64_t frame, const FaceRecord& record);
  double Seconds(int64_t pts) const;
  void TakeDecided(std::vector<Frame>* decided);

  const Options options_;
  std::unique_ptr<FaceLandmarker> landmarker_;  // until there is a source, which owns it then
  DriverMotion motion_;

  bool finished_ = false;
  std::string bytes_;  // of the file, until it is opened
  // Until the end: it holds the networks' weights.
  std::unique_ptr<FaceSource> source_;
  LiveFaceSource* live_ = nullptr;  // source_ of live driving
  VideoInfo info_;
  std::optional<AudioTrack> audio_;
  FaceTimeline timeline_;
  std::vector<Landmarks> for_crop_;  // until it is settled
  std::optional<CropBox> crop_;
  std::deque<Frame> undecided_;             // without landmarks
  std::deque<FaceTimeline::Frame> filled_;  // of the first of those, in units of the picture
  int64_t num_decided_ = 0;
  std::vector<FrameNote> frame_notes_;
  std::vector<FrameFace> frame_faces_;
  std::vector<std::string> notes_;
  absl::Duration decode_time_, landmark_time_;
  absl::Duration fill_time_;  // of landmark_time_, after the source
};

}  // namespace reenact
