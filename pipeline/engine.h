// The engine as server/ sees it: jobs go in as bytes, encoded video comes out as bytes.
//
// Life of a job:
//   CreateJob -> AddDriving* or AddFrame* -> FinishDriving   handing over what came, cheap
//   Prepare until kDone                        reads what was handed over, a bounded part a call
//   Engine::Step until denoised()              on the device's scheduler thread
//   Render until rendered()                    on any one thread at a time
//   Summary                                    once everything else is over
// The calls of the first two lines run on any one thread at a time. Steps can be run from when
// plan() has rows, and pictures rendered from when there are some: jobs whose rows follow their
// frames' order (SequencePlan::kContiguous, live driving) are stepped and rendered while they are
// still being prepared, even while frames still come in.
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
#include "pipeline/motion_extraction.h"
#include "pipeline/types.h"

namespace reenact {

// Rows a job may be given in one step: none, or min_rows to max_rows. min_rows is above 1 while
// rows must stay together (the anchor row beside those that need it). 0..0: there is nothing to
// step, or not before more has been prepared.
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

  // Takes the next frame of a live job (JobRequest::live), in order. kInvalidArgument: its time
  // stamp is not later than the frame's before.
  virtual absl::Status AddFrame(LiveFrame frame) = 0;

  // Says that all driving media is there.
  virtual absl::Status FinishDriving() = 0;

  // Reads some of what has been handed over: decodes frames, finds faces, plans rows. Takes a
  // bounded time (tens of milliseconds) but for the first call that plans rows.
  enum class Preparation {
    kMore,        // there is more to do at once
    kNeedsInput,  // nothing to do before more is handed over
    kAhead,       // enough is prepared for now: to be called again after the job's next steps. What
                  // is handed over meanwhile waits in memory.
    kDone,        // all driving media has been read; plan() is complete
  };
  virtual absl::StatusOr<Preparation> Prepare() = 0;

  // Thread-safe. No rows: it cannot be stepped yet.
  virtual JobPlan plan() const = 0;

  // Thread-safe. How a live job keeps up; all zero for others.
  virtual LiveStatus live_status() const = 0;

  // Thread-safe, from any thread: Prepare and Render, running now or called later, return
  // kCancelled soon (within the reading or decoding of one frame). Nothing else changes.
  virtual void Cancel() = 0;

  // Thread-safe: whether the plan is complete and every row step has run; how many have.
  virtual bool denoised() const = 0;
  virtual int64_t steps_done() const = 0;

  // How many rows the job can have stepped by the next Engine::Step. Scheduler thread, between two
  // steps. Grows when Prepare has run, shrinks by steps only. A live job decides here which frames
  // its next row shows.
  virtual RowDemand row_demand() = 0;

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

  // Thread-safe. Reads a driving video's motion into a template, by the first model's face models.
  // Checks the request.
  virtual absl::StatusOr<std::unique_ptr<MotionExtraction>> ExtractMotion(
      const MotionRequest& request) = 0;

  // Runs one denoising step of `num_rows` rows of each job, all together: of different models,
  // lengths, step indices, samplers and guidance. The jobs are distinct and num_rows lies within
  // row_demand(). One status per job, in order: a failure ends
  // that job and no other. One thread at a time.
  virtual std::vector<absl::Status> Step(absl::Span<const StepShare> shares) = 0;
};

}  // namespace reenact
