// A bundle: one model on disk. A folder with bundle.json (which holds the SHA-256 of every other
// file), the weights of the three networks as safetensors and the tokenizer's merges. The trainer
// writes one, the engine reads it; both use this file.
//
// bundle.json, format_version 1. Every field is required unless a default is given; an unknown one
// is an error.
//   format_version  1
//   name            what JobRequest::model says; [A-Za-z0-9._-]+
//   licence         for people
//   image_size      side of a frame in pixels: latent_size times the autoencoder's downscale
//   frames_per_row  T, equal to sdit.num_frames
//   prediction      "eps", "v" or "x0"
//   schedule        {name: "linear" or "linear-zero-terminal-snr" (not with prediction "eps"),
//                   num_train_steps}
//   defaults        {sampler: "ddim" | "ddpm" | "dpm-solver++", num_steps, guidance_scale}
//   max_num_steps   2..schedule.num_train_steps
//   accepts_text    whether a text may be the source; default true
//   sdit, autoencoder
//                   configurations, see pipeline/models/config_json.h
//   clip            likewise, and merges: the name of the tokenizer's file
//   landmarks       {model, detector: names of .tflite files, convention: "mediapipe-478"}
//   choices         what the paper leaves open and this program decides, in words (attention,
//                   temporal_position, condition, mapping, identity, edit, edit_direction,
//                   landmarks, crop, timestep, anchor_slot); another value than this program's is
//                   an error. And guidance: "without identity, all channels" or, as DiT's published
//                   samples were made, "without identity, three channels"; noise: "per frame" or
//                   "shared by all frames"; steps: "first to last" or "trailing", which of the
//                   training steps a job's are (Schedule::Create). Default: this program's, and the
//                   first of two
//   training        free text and numbers: how it was made
//   files           {name: SHA-256} of sdit.safetensors, autoencoder.safetensors, clip.safetensors,
//                   the merges, and the .tflite files if they lie in the folder
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "pipeline/diffusion/samplers.h"
#include "pipeline/models/autoencoder_kl.h"
#include "pipeline/models/clip.h"
#include "pipeline/models/clip_tokenizer.h"
#include "pipeline/models/sdit.h"
#include "pipeline/types.h"
#include "pipeline/weights/mapped_file.h"

namespace reenact {

inline constexpr int kBundleFormatVersion = 1;

// bundle.json without `files`.
struct BundleConfig {
  std::string name;
  std::string licence;
  int64_t image_size = 0;
  int64_t frames_per_row = 0;
  Prediction prediction = Prediction::kEpsilon;
  std::string schedule = "linear";
  int num_train_steps = 1000;
  Sampler default_sampler = Sampler::kDdim;
  int default_num_steps = 50;
  double default_guidance_scale = 1;
  int64_t guided_channels = 0;  // SamplingOptions::guided_channels: 0 (all) or 3
  // All frames of a video are sampled from the same noise: they flicker less, and what the noise
  // gets wrong is wrong in all of them.
  bool shared_noise = false;
  // A job's steps are counted from the last ("trailing" of Schedule::Create): none is spent on the
  // clean end, where a step changes next to nothing.
  bool trailing_steps = false;
  int max_num_steps = 250;
  bool accepts_text = true;
  SDiTConfig sdit;
  AutoencoderKLConfig autoencoder;
  ClipConfig clip;
  std::string landmark_model = "face_landmark_with_attention.tflite";
  std::string landmark_detector = "face_detection_short_range.tflite";
  nlohmann::json training = nlohmann::json::object();
};

// What WriteBundle stores, by checkpoint name (StateDict of weights/load.h gives it).
struct BundleTensors {
  std::map<std::string, torch::Tensor> sdit;
  std::map<std::string, torch::Tensor> autoencoder;
  std::map<std::string, torch::Tensor> clip;
  std::string merges;  // content of the tokenizer's merges.txt
  // Store tensors of two or more dimensions as float16, except position tables; halves the size.
  // All else is float32.
  bool half = false;
};

// A bundle in memory: networks in float32 and evaluation mode, to be read only. Weights that are
// stored in float32 are pages of the files, mapped for reading: writing to one ends the process. A
// file must not be changed in place while the bundle lives (replacing it, as WriteBundle does, is
// safe).
struct Bundle {
  BundleConfig config;
  std::string sha256;  // of bundle.json
  std::string folder;
  std::map<std::string, std::string> files;  // name -> SHA-256
  SDiT sdit{nullptr};
  AutoencoderKL autoencoder{nullptr};
  Clip clip{nullptr};
  std::shared_ptr<const ClipTokenizer> tokenizer;
  std::vector<std::shared_ptr<const MappedFile>> mapped;  // the networks' files

  // Lets go of the pages that have been read: they come back from the file cache when they are
  // used. For when weights have been packed for a device, or a tower that is seldom used has run.
  // Thread-safe, also beside whoever uses the networks.
  void ReleasePages() const;
};

// Reads and checks a whole bundle. All problems found come in one kInvalidArgument, a line each:
// unknown, missing or ill-typed fields, fields that contradict each other, missing files, wrong
// hashes, missing, unexpected, misshapen or non-finite tensors. kNotFound: there is no bundle.json.
absl::StatusOr<Bundle> ReadBundle(const std::string& folder);

// Makes `folder` if needed and writes a bundle that ReadBundle accepts (it is read back before this
// returns). Each file is replaced atomically, bundle.json last. .tflite files that already lie in
// `folder` under the configured names are hashed in.
absl::Status WriteBundle(const std::string& folder, const BundleConfig& config,
                         const BundleTensors& tensors);

// The text of bundle.json and back, without reading any other file. `files` may be null. Errors as
// ReadBundle.
std::string BundleConfigToJson(const BundleConfig& config,
                               const std::map<std::string, std::string>& files);
absl::StatusOr<BundleConfig> BundleConfigFromJson(const std::string& text,
                                                  std::map<std::string, std::string>* files);

}  // namespace reenact
