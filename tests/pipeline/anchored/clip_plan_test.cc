#include "pipeline/anchored/clip_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace reenact {
namespace {

using ::testing::HasSubstr;

JobRequest Request(LongVideoMethod method) {
  JobRequest request;
  request.method = method;
  return request;
}

std::string Refusal(const JobRequest& request) {
  const absl::Status status = CheckLongVideo(request, 8);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

TEST(ClipPlan, IsThatOfTheMethod) {
  const auto plan = [](const JobRequest& request) {
    EXPECT_TRUE(CheckLongVideo(request, 8).ok());
    auto made = PlanClip(request, 30, 8, {0, 12});
    EXPECT_TRUE(made.ok()) << made.status();
    EXPECT_EQ(made->method, request.method);
    EXPECT_EQ(made->frames_per_row(), 8);
    return *std::move(made);
  };
  JobRequest request = Request(LongVideoMethod::kAnchored);
  EXPECT_EQ(plan(request).num_rows(), 5);  // 15 frames before the anchor, 14 in 3 slots after it
  EXPECT_EQ(plan(request).num_padding_slots(), 5 * 7 - 29);
  EXPECT_TRUE(plan(request).rows.linked_scenes.empty());
  request.plan = SequencePlan::kBalanced;
  EXPECT_EQ(plan(request).num_rows(), 5);
  request.anchors = AnchorPlacement::kPerScene;
  EXPECT_EQ(plan(request).rows.linked_scenes.size(), 1u);
  EXPECT_EQ(plan(request).num_rows(), 2 + 3);

  const ClipPlan multi = plan(Request(LongVideoMethod::kMultiDiffusion));
  EXPECT_EQ(multi.num_rows(), 7);
  EXPECT_EQ(multi.windows.back().count, 8);
  EXPECT_EQ(multi.num_padding_slots(), 0);
  const ClipPlan overlapped = plan(Request(LongVideoMethod::kOverlapped));
  EXPECT_EQ(overlapped.num_rows(), 5);
  EXPECT_EQ(overlapped.windows.back().count, 6);
  const ClipPlan independent = plan(Request(LongVideoMethod::kIndependent));
  EXPECT_EQ(independent.num_rows(), 4);
  EXPECT_EQ(independent.num_padding_slots(), 2);
}

TEST(ClipPlan, OneSceneIsNoScenes) {
  JobRequest request = Request(LongVideoMethod::kAnchored);
  request.anchors = AnchorPlacement::kPerScene;
  for (const std::vector<int>& cuts : {std::vector<int>{}, {0}}) {
    const auto plan = PlanClip(request, 30, 8, cuts);
    ASSERT_TRUE(plan.ok());
    EXPECT_TRUE(plan->rows.linked_scenes.empty());
  }
}

TEST(CheckLongVideo, NamesWhatDoesNotGoTogether) {
  EXPECT_TRUE(CheckLongVideo(JobRequest(), 8).ok());
  JobRequest request = Request(LongVideoMethod::kAnchored);
  request.window.overlap = 1;
  EXPECT_THAT(Refusal(request), HasSubstr("window is set"));

  request = Request(LongVideoMethod::kAnchored);
  request.anchors = AnchorPlacement::kPerScene;
  request.plan = SequencePlan::kContiguous;
  EXPECT_THAT(Refusal(request), HasSubstr("anchor_placement is per_scene"));

  for (const auto method : {LongVideoMethod::kMultiDiffusion, LongVideoMethod::kOverlapped,
                            LongVideoMethod::kIndependent}) {
    request = Request(method);
    EXPECT_TRUE(CheckLongVideo(request, 8).ok());
    request.plan = SequencePlan::kContiguous;
    EXPECT_THAT(Refusal(request),
                HasSubstr(std::string("sequence_plan is contiguous, must be unset with the "
                                      "long_video_method ") +
                          MethodName(method)));
    request = Request(method);
    request.live.emplace();
    EXPECT_THAT(Refusal(request), HasSubstr("must be anchored with live driving"));
    request = Request(method);
    request.anchors = AnchorPlacement::kPerScene;
    EXPECT_THAT(Refusal(request), HasSubstr("anchor_placement is per_scene"));
    request = Request(method);
    request.window.frames = 9;
    EXPECT_THAT(Refusal(request), HasSubstr("window.frames must be 1..8, is 9"));
  }
}

}  // namespace
}  // namespace reenact
