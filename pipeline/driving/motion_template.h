// Motion templates as bytes: what motion_template.proto says, written and read.
//
// Points are kept in the head's frame, in steps of kPointStep: what is rounded off is a hundredth
// of a landmark's own trembling. Writing is a stream in bounded memory; reading takes the file as a
// whole and checks it before the first frame comes.
//
// All classes are thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pipeline/face/face_tracker.h"
#include "pipeline/face/head_pose.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/face/motion_neutral.h"
#include "pipeline/media/audio_track.h"

namespace reenact {

// cm of an average head. Half of it is the most that a coordinate is off.
inline constexpr double kPointStep = 1.0 / 1024;

// What a template says about the video as a whole.
struct MotionTemplateInfo {
  int width = 0;  // pixels, upright
  int height = 0;
  int32_t time_base_num = 0;  // seconds per unit of pts = num / den
  int32_t time_base_den = 1;
  int32_t frame_rate_num = 0;  // average, as the video said; 0/1 if it did not
  int32_t frame_rate_den = 1;
  int64_t num_frames_hint = 0;  // as the video said; 0 if it did not. A reader's is exact
  double duration_seconds = 0;  // likewise
  std::string landmark_model_sha256;
  std::vector<std::string> blendshape_names;
};

// One frame as it was seen.
struct MotionTemplateFrame {
  int64_t pts = 0;
  int64_t duration = 1;
  bool cut = false;
  // Without `likeness`; read: a face that was lost has no box.
  TrackedFace face;
  // Of a frame with a face: a number from 0 to 1 for each of MotionTemplateInfo::blendshape_names.
  std::vector<float> blendshapes;
};

class MotionTemplateWriter {
 public:
  MotionTemplateWriter() = default;

  // Each appends to `out`. In this order, Begin and Finish once.
  // `sound`: null if there is none; its packets are to follow, all of them, by AddSound.
  void Begin(const MotionTemplateInfo& info, const AudioTrack* sound, std::string* out);
  void AddSound(const AudioPacket& packet, std::string* out);
  // Frames in order, each beginning where the one before ends.
  void AddFrame(const MotionTemplateFrame& frame, std::string* out);
  void Finish(const std::vector<std::string>& notes, std::string* out);

  int64_t num_frames() const { return num_frames_; }
  int64_t num_frames_with_face() const { return num_faces_; }

 private:
  using Points = std::vector<int32_t>;  // 3 * kNumLandmarks

  void Append(char kind, const std::string& message, std::string* out);
  double Seconds(int64_t pts) const;

  MotionTemplateInfo info_;
  Points last_ = Points(size_t{3} * kNumLandmarks, 0);
  NeutralTracker neutral_;
  int64_t num_frames_ = 0, num_faces_ = 0, num_packets_ = 0;
  uint32_t crc_ = 0;  // of all bytes so far
};

// Whether the bytes begin as a motion template does, of whatever version.
bool LooksLikeMotionTemplate(std::string_view bytes);

class MotionTemplateReader {
 public:
  struct Limits {
    int max_frames = 100'000;
    double max_duration_seconds = 4 * 3600;
  };

  // Takes the whole file and checks that it is whole and undamaged. kInvalidArgument: not a
  // template, of another version, cut off, damaged, or a field out of range (which the message
  // names); kResourceExhausted: over a limit.
  static absl::StatusOr<std::unique_ptr<MotionTemplateReader>> Open(std::string bytes,
                                                                    const Limits& limits);

  const MotionTemplateInfo& info() const { return info_; }

  // The next frame; none after the last. Errors as Open's; after one every call returns it.
  absl::StatusOr<std::optional<MotionTemplateFrame>> Next();

  bool has_sound() const { return sound_.has_value(); }
  // The sound, empty if there is none. kInvalidArgument: it is not what its header says, or cannot
  // be in an MP4.
  absl::StatusOr<AudioTrack> ReadSound() const;

  // The driver's face at rest in the head's frame; none: not known.
  const std::optional<HeadShape>& rest() const { return rest_; }
  const std::vector<std::string>& notes() const { return notes_; }
  int64_t num_frames() const { return num_frames_; }
  int64_t num_frames_with_face() const { return num_faces_; }

 private:
  struct Record {
    size_t offset = 0;  // of the message in bytes_
    size_t size = 0;
  };
  struct Sound {
    AudioTrack track;  // without parameters and packets
    AudioDescription description;
  };

  explicit MotionTemplateReader(std::string bytes) : bytes_(std::move(bytes)) {}

  // Finds the records.
  absl::Status Index(const Limits& limits);
  absl::Status ReadHeader(const Limits& limits);
  absl::Status ReadEnd();
  absl::StatusOr<MotionTemplateFrame> ReadFrame(std::string_view message);
  std::string_view Message(const Record& record) const {
    return std::string_view(bytes_).substr(record.offset, record.size);
  }

  const std::string bytes_;
  MotionTemplateInfo info_;
  double max_seconds_ = 0;
  double step_ = 0;
  std::optional<Sound> sound_;
  Record header_, end_;
  size_t end_begin_ = 0;  // of the end's record, kind included
  std::vector<Record> packets_, frames_;
  int64_t num_frames_ = 0, num_faces_ = 0;
  std::optional<HeadShape> rest_;
  std::vector<std::string> notes_;

  // Of Next().
  size_t next_ = 0;
  int64_t faces_read_ = 0;
  std::vector<int32_t> last_ = std::vector<int32_t>(size_t{3} * kNumLandmarks, 0);
  std::optional<int64_t> first_pts_, next_pts_;
  absl::Status failed_;
};

}  // namespace reenact
