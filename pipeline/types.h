// What a job is, as plain data: the words server/ and pipeline/ share. No torch, OpenCV, FFmpeg,
// gRPC or proto.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "pipeline/compose/paste_back_options.h"
#include "pipeline/face/motion_options.h"
#include "pipeline/media/video_encoding.h"

namespace reenact {

// Which frames share a row with the anchor frame (paper, section 3.2; open points in
// CONTRIBUTING.md).
enum class SequencePlan {
  kCentralRandom,  // the paper: central anchor, the others drawn at random (seeded) on each side
  kCentralInterleaved,  // central anchor, the others at a constant stride
  kContiguous,          // neighbours share a row: the first frames are ready earliest
  kBalanced,            // as kCentralRandom, the anchor where the rows are filled best
};

// How a clip longer than a row is held together.
enum class LongVideoMethod {
  kAnchored,        // the paper: rows share an anchor frame
  kMultiDiffusion,  // overlapping windows, predictions averaged at every step
  kOverlapped,      // Make-Your-Anchor's overlapped temporal denoising
  kIndependent,     // windows that know nothing of each other
};

// Where the anchor frames of kAnchored are.
enum class AnchorPlacement {
  kSingle,
  kPerScene,  // one for each scene of the driving video, linked by the first scene's
};

// Windows of neighbouring frames that are denoised together. Empty: WindowConfig's defaults in
// reenact.proto.
struct WindowOptions {
  std::optional<int> frames;   // 1..T
  std::optional<int> overlap;  // 0..frames-1, shared with the window before
};

enum class Sampler {
  kDdim,
  kDdpm,
  kDpmSolverPp,  // DPM-Solver++(2M): best of the three with few steps
};

// What to do with a driving frame in which no face is found.
enum class NoFacePolicy {
  kInterpolate,  // landmarks between the neighbours that have a face
  kHold,         // landmarks of the last frame that has one (of the first, at the beginning)
  kFail,         // the job ends with kInvalidArgument naming the frame
};

// What an output picture shows.
enum class Composition {
  kCrop,       // the generated square around the face
  kPasteBack,  // the whole source picture with the square put back
};

enum class OutputFormat { kFragmentedMp4, kJpeg, kPng, kRawRgb };

// Where the output has the matte of the generated face: 255 in it, 0 outside.
enum class Matte {
  kNone,
  kAlpha,  // fourth channel; kPng and kRawRgb only
  kBelow,  // a grey picture of the same size below each picture
};

// What becomes of live driving frames that come faster than they can be denoised.
enum class SkipPolicy {
  // Some are left out, evenly, so that the output keeps up: the frame before is shown in their
  // stead. Which ones depends on the device's speed.
  kSkip,
  // None: frames wait, in the end at the sender (flow control), and the output lags behind.
  kWait,
};

// Driving that comes frame by frame while the output is generated (a camera). The first T frames
// make the anchor row; the sequence plan is kContiguous.
struct LiveOptions {
  int32_t time_base_num = 1;  // seconds per unit of LiveFrame::pts = num / den
  int32_t time_base_den = 1000;
  SkipPolicy skip = SkipPolicy::kSkip;
  // A row is begun without being full when its first frame has waited for this long; seen when a
  // frame comes.
  absl::Duration max_wait = absl::Milliseconds(250);
};

struct LiveFrame {
  std::string image;  // bytes of a JPEG, PNG, WebP, BMP or TIFF file; all of one size
  int64_t pts = 0;
  absl::Time arrived;
};

struct LiveStatus {
  int64_t frames_in = 0;       // frames that have been read
  int64_t frames_skipped = 0;  // of those, left out
  // From the arrival of a frame until it was rendered: the largest of those rendered last together.
  absl::Duration lag;
  // Media time rendered by wall time since the first frame arrived: below 1 the output falls
  // behind. 0: not known yet.
  double real_time_ratio = 0;
};

// Which of several faces is meant.
struct FaceSelection {
  enum class By {
    kLargest,    // the tallest box
    kIndex,      // the index-th from the left, 0 is the first
    kPosition,   // the one nearest to a place
    kReference,  // the one most like the face in another picture
  };
  By by = By::kLargest;
  int index = 0;                // 0..63
  double x = 0.5, y = 0.5;      // 0..1, in units of the picture
  std::string reference_image;  // bytes of an image file; its largest face counts
};

// The person to be animated: an image or a video, a text, or an image edited by texts.
struct SourceRequest {
  std::string image;           // bytes of a PNG, JPEG, WebP, BMP or TIFF file; empty: none
  std::string video;           // bytes of a video file; not beside an image
  std::string text;            // UTF-8; alone it is the source, beside an image it edits it
  std::string edit_from;       // with edit_to: the image is moved by the difference of two texts
  std::string edit_to;         //
  double edit_strength = 0.5;  // 0..1, weight of the text beside an image, length of the edit
  FaceSelection face;

  bool has_picture() const { return !image.empty() || !video.empty(); }
};

// A face to be driven and the one that drives it.
struct FacePair {
  SourceRequest source;       // empty but for `face`: another face of the job's first picture
  FaceSelection driver_face;  // chosen in the first frame that shows faces, then followed
};

// What a caller asks for. An empty optional means the model's default (ModelInfo).
struct JobRequest {
  std::string job_id;
  std::string model;  // empty: the engine's only or first model
  SourceRequest source;
  FaceSelection driver_face;  // as FacePair::driver_face
  std::vector<FacePair> further_faces;
  uint64_t seed = 0;
  std::optional<int> num_steps;
  std::optional<Sampler> sampler;
  double ddim_eta = 0;                   // 0..1
  std::optional<double> guidance_scale;  // 1 = off
  SequencePlan plan = SequencePlan::kCentralRandom;
  LongVideoMethod method = LongVideoMethod::kAnchored;
  WindowOptions window;  // but of kAnchored
  AnchorPlacement anchors = AnchorPlacement::kSingle;
  NoFacePolicy no_face = NoFacePolicy::kInterpolate;
  OutputFormat format = OutputFormat::kFragmentedMp4;
  Composition composition = Composition::kCrop;
  PasteBackOptions paste_back;
  std::optional<int> output_size;  // side of the square output in pixels; default the model's own
  VideoEncoding encoding;          // of kFragmentedMp4
  int jpeg_quality = 90;           // 1..100
  bool copy_audio = true;
  bool poster = false;
  Matte matte = Matte::kNone;
  // Empty: kRelative for a source with a face, else kAbsolute.
  std::optional<MotionMode> motion_mode;
  MotionOptions motion;             // but for the mode
  double smoothing = 1;             // SmoothingOptions::strength: 0 (off) to 4
  std::optional<LiveOptions> live;  // empty: the driving media is a file
};

struct ModelInfo {
  std::string name;
  std::string bundle_sha256;  // of bundle.json, which holds the hash of every other file
  std::string licence;
  int image_size = 0;      // pixels, square
  int frames_per_row = 0;  // T
  std::vector<Sampler> samplers;
  Sampler default_sampler = Sampler::kDdim;
  int default_num_steps = 0;
  int max_num_steps = 0;
  double default_guidance_scale = 1;
  bool accepts_image = true;
  bool accepts_text = false;
  int64_t max_driving_bytes = 0;
  int max_frames = 0;
  int max_image_pixels = 0;
  int max_output_size = 0;
  // Speed of denoising on this device, timed on real steps when the model was loaded; the unit of
  // JobPlan::gflop_per_row_step per second. 0: not timed.
  double gflop_per_second = 0;
  // Where it denoises and decodes, for people: "cpu", or "cuda:0 (NVIDIA H100 80GB HBM3)".
  std::string device;
};

// What a job will cost, as far as its driving media has been read: what the container says of the
// rest is believed until then.
struct JobPlan {
  int num_frames = 0;             // in and out
  int num_rows = 0;               // rows of T slots, the anchor's row included
  int num_padding_slots = 0;      // slots filled with duplicates
  int num_steps = 0;              // denoising steps of one row
  int64_t total_steps = 0;        // row steps of the whole job, repeated ones included
  double gflop_per_row_step = 0;  // guidance included
  bool complete = false;          // everything has been read: the counts are final
};

enum class Stage { kReceiving, kPreparing, kDenoising, kRendering };

// One piece of the answer, in the order it must be sent.
struct Output {
  enum class Kind { kInitSegment, kFragment, kFrame, kPoster };
  Kind kind = Kind::kFragment;
  std::string data;           // MP4 bytes, one encoded frame, or a JPEG file (kPoster)
  int64_t first_frame = 0;    // index of the first frame in `data` (kFragment, kFrame)
  int num_frames = 0;         // frames in `data`; 0 for an init segment
  int64_t pts = 0;            // of the first frame, in units of time_base
  int32_t time_base_num = 0;  // seconds per unit = num / den
  int32_t time_base_den = 1;
  int width = 0;  // of a kFrame or kPoster, pixels
  int height = 0;
  bool repeated = false;  // of a kFrame: the driving frame was skipped, this is the one before
};

// Something a caller should know about one frame.
struct FrameNote {
  int64_t frame = 0;
  std::string note;  // such as "no face found, landmarks interpolated"
};

// Where the landmarks of one driving frame came from.
struct FrameFace {
  enum class Origin { kFound, kInterpolated, kHeld };
  Origin origin = Origin::kFound;
  float confidence = 0;  // 0.5..1 that it is a face; 0 if it was not found
  int person = 0;        // 0 is the one chosen first
  bool cut = false;      // the frame begins a scene
};

struct JobSummary {
  std::string model;
  std::string bundle_sha256;
  uint64_t seed = 0;
  int64_t frames_in = 0;
  int64_t frames_out = 0;
  int64_t steps_run = 0;  // calls of Engine::Step the job took part in
  int64_t rows_run = 0;   // row steps
  int64_t bytes_out = 0;
  bool audio_copied = false;
  LiveStatus live;                     // of a live job
  std::vector<FrameFace> frame_faces;  // one per driving frame; empty for a live job
  std::vector<std::vector<FrameFace>> further_frame_faces;  // of JobRequest::further_faces
  std::vector<FrameNote> frame_notes;
  std::vector<std::string>
      notes;  // about the whole job, such as "audio codec pcm_s16le does not fit MP4, left out"
  absl::Duration decode_time, landmark_time, embed_time, denoise_time, render_time;
};

}  // namespace reenact
