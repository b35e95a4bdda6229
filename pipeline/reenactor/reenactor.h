// The engine of the product: composes media, face and the networks into the Engine interface
// (pipeline/engine.h).
//
// Per job: the source is decoded, its face found and cropped, embedded by CLIP and encoded by the
// autoencoder. The driving video is read frame by frame; only landmarks and timestamps stay. Rows
// of T frames around one anchor frame are denoised (trace_denoiser.h), those of many jobs together;
// finished frames are decoded, resized and encoded in time order. Memory beyond the encoded input
// is bounded by the active rows, the anchor trace and a small constant per frame (about 6 kB of
// landmarks and the latents not yet shown).
//
// Thread-safety as stated in pipeline/engine.h. Libtorch's intra-op threads are a setting of the
// process.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "pipeline/engine.h"

namespace reenact {

struct ReenactorOptions {
  // Folders of bundles; at least one. Their names must differ. The first is the model of requests
  // that name none.
  std::vector<std::string> bundles;

  // Where the .tflite files named by a bundle lie if not in the bundle itself. Empty: the
  // environment variable REENACT_FACE_MODELS, else .deps/mediapipe below the current folder, else
  // beside the build the program lies in.
  std::string face_models;

  // Threads of libtorch's operators. 0: as many as the machine has cores.
  int num_threads = 0;

  // Where the denoising network and the decoder compute: cpu, cuda, cuda:N or auto (FindDevice of
  // pipeline/models/device.h). Everything else (video, faces, and the encoders of the source and
  // the landmarks, which run once per job or frame) stays on the CPU.
  std::string device = "cpu";
  // On a GPU: batch shapes whose work is kept as a CUDA graph. 0: none.
  int max_cuda_graphs = 16;

  // Number format of the denoising network's and the decoder's arithmetic.
  enum class Precision { kFloat32, kBfloat16 };
  Precision precision = Precision::kFloat32;

  // Rows of T frames of one job that have begun to denoise and not ended, 2 or more, the anchor row
  // included; memory grows with it.
  int max_active_rows = 8;

  // How a job's rows get the anchor row's trace (row_schedule.h). kAuto retains it while the
  // retained traces of all jobs stay within max_trace_bytes, else keeps the rows in lock-step if
  // they are at most max_active_rows, else recomputes. kRetained refuses a job whose trace does not
  // fit (kResourceExhausted).
  enum class Trace { kAuto, kRetained, kLockStep, kRecomputed };
  Trace trace = Trace::kAuto;
  // Bytes of all retained traces. 0: none. On a GPU they lie in its memory if this is at most half
  // of what is free when the model is loaded, else in host memory.
  int64_t max_trace_bytes = int64_t{1} << 30;

  // Encoded driving media, bytes.
  int64_t max_driving_bytes = int64_t{256} << 20;
  int max_frames = 20000;

  // Pixels of a source image, and of one driving frame.
  int max_image_pixels = 40'000'000;

  // Side of the output, pixels.
  int max_output_size = 1024;

  // Decoded pictures of one job that wait for an earlier frame, bytes.
  int64_t max_waiting_bytes = int64_t{64} << 20;
};

// kInvalidArgument: an option or a bundle is wrong (all problems of a bundle in one message).
// kNotFound: a file is missing. kFailedPrecondition: there is no GPU to compute on, and why.
// kResourceExhausted: out of memory, with the bytes that were asked for.
absl::StatusOr<std::unique_ptr<Engine>> CreateReenactor(const ReenactorOptions& options);

}  // namespace reenact
