// The engine as server/ sees it: jobs go in as bytes, encoded video comes out as bytes.
//
// Life of a job:
//   CreateJob -> AddDriving* -> FinishDriving   preparation, on any one thread at a time
//   Engine::Step until denoised()               on the device's scheduler thread
//   Render until rendered()                     on any one thread at a time, also while Step runs
//   Summary                                     once everything else is over
// A job is abandoned by destroying it when none of its calls is running; its memory goes with it.
// Cancel makes a call that is running return early.
//
// The unit of denoising work is the row step: one denoising step of one row of T frames.
//
// Errors are the contract of the service: kInvalidArgument (request or media; says field or frame),
// kFailedPrecondition (no face in the source), kNotFound (no such model), kResourceExhausted (over
// a limit), kCancelled (after Cancel), kInternal (our bug). Messages are for the caller: no paths,
// no stack traces.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "pipeline/types.h"

namespace reenact {

// Rows a job may be given in one step: none, or min_rows to max_rows. min_rows is above 1 while
// rows must stay together (the anchor row beside those that need it).
struct RowDemand {
  int min_rows = 0;
  int max_rows = 0;
};

class EngineJob {
 public:
  virtual ~EngineJob() = default;

  // Takes the next bytes of the driving media, in order. kResourceExhausted beyond
  // ModelInfo::max_driving_bytes.
  virtual absl::Status AddDriving(std::string_view bytes) = 0;

  // Says that all bytes are there: reads the video, finds the faces, embeds the source, plans the
  // rows. Slow (seconds).
  virtual absl::Status FinishDriving() = 0;

  // Valid after FinishDriving succeeded.
  virtual const JobPlan& plan() const = 0;

  // Thread-safe, from any thread: FinishDriving and Render, running now or called later, return
  // kCancelled soon (within the reading or decoding of one frame). Nothing else changes.
  virtual void Cancel() = 0;

  // Thread-safe: whether every row step has run; how many of plan().total_steps have.
  virtual bool denoised() const = 0;
  virtual int64_t steps_done() const = 0;

  // How many rows the job can have stepped by the next Engine::Step. Scheduler thread, between two
  // steps; the job is prepared. 0..0 once it is denoised.
  virtual RowDemand row_demand() const = 0;

  // Thread-safe: whether Render has something to do now; whether everything has been rendered.
  virtual bool renderable() const = 0;
  virtual bool rendered() const = 0;

  // Thread-safe: frames whose bytes have been returned by Render.
  virtual int64_t frames_done() const = 0;

  // Decodes and encodes what is ready and returns what can be sent, in order; may be empty, as
  // frames leave in time order.
  virtual absl::StatusOr<std::vector<Output>> Render() = 0;

  virtual JobSummary Summary() const = 0;
};

// A job's part of a step.
struct StepShare {
  EngineJob* job = nullptr;
  int num_rows = 0;
};

class Engine {
 public:
  virtual ~Engine() = default;

  // Thread-safe. At least one.
  virtual const std::vector<ModelInfo>& models() const = 0;

  // Thread-safe. Checks the request against the model, decodes the source and finds its face.
  virtual absl::StatusOr<std::unique_ptr<EngineJob>> CreateJob(const JobRequest& request) = 0;

  // Runs one denoising step of `num_rows` rows of each job, all together: of different models,
  // lengths, step indices, samplers and guidance. The jobs are distinct, prepared and not yet
  // denoised, and num_rows lies within row_demand(). One status per job, in order: a failure ends
  // that job and no other. One thread at a time.
  virtual std::vector<absl::Status> Step(absl::Span<const StepShare> shares) = 0;
};

}  // namespace reenact
