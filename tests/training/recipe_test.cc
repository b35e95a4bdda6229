#include "training/recipe.h"

#include "tests/training/tiny_data.h"

namespace reenact {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kRecipe[] = R"({"stages": [
  {"name": "people", "stage": "data", "options": {"out": "people", "people": 100, "seed": 3},
   "smoke": {"people": 4, "seed": null}},
  {"name": "ae", "stage": "autoencoder",
   "options": {"data": "people", "out": "ae", "channels": [16, 32], "decoder_only": true}},
  {"stage": "clip", "options": {"data": "people", "out": "clip", "bfloat16": false}}
]})";

Recipe Parsed(const std::string& text, bool smoke = false) {
  auto recipe = ParseRecipe(text, smoke);
  if (!recipe.ok()) throw std::runtime_error(recipe.status().ToString());
  return *std::move(recipe);
}

std::string Problem(const std::string& text) {
  const auto recipe = ParseRecipe(text, false);
  EXPECT_EQ(recipe.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(recipe.status().message());
}

TEST(ParseRecipeTest, OptionsBecomeFlags) {
  const Recipe recipe = Parsed(kRecipe);
  const auto is_switch = [](const std::string& flag) { return flag == "--decoder-only"; };

  ASSERT_EQ(recipe.stages.size(), 3u);
  EXPECT_EQ(recipe.stages[2].name, "clip");
  EXPECT_THAT(StageArguments(recipe.stages[0], is_switch),
              ElementsAre("data", "--out=people", "--people=100", "--seed=3"));
  EXPECT_THAT(StageArguments(recipe.stages[1], is_switch),
              ElementsAre("autoencoder", "--channels=16,32", "--data=people", "--decoder-only",
                          "--out=ae"));
  EXPECT_THAT(StageArguments(recipe.stages[2], is_switch),
              ElementsAre("clip", "--bfloat16=false", "--data=people", "--out=clip"));
}

TEST(ParseRecipeTest, SmokeReplacesAndTakesAway) {
  const Recipe recipe = Parsed(kRecipe, /*smoke=*/true);

  EXPECT_THAT(StageArguments(recipe.stages[0], [](const std::string&) { return false; }),
              ElementsAre("data", "--out=people", "--people=4"));
}

TEST(ParseRecipeTest, ProblemsAreNamed) {
  EXPECT_THAT(Problem("{"), HasSubstr("JSON"));
  EXPECT_THAT(Problem(R"({"stages": [{"stage": "data"}], "stagse": 1})"), HasSubstr("\"stagse\""));
  EXPECT_THAT(Problem(R"({"stages": []})"), HasSubstr("at least one"));
  EXPECT_THAT(Problem(R"({"stages": [{"stage": "data", "opitons": {}}]})"),
              HasSubstr("stage 1: unknown key \"opitons\""));
  EXPECT_THAT(Problem(R"({"stages": [{"stage": "data"}, {"stage": "data"}]})"),
              HasSubstr("two stages are named \"data\""));
  EXPECT_THAT(Problem(R"({"stages": [{"stage": "data", "name": "../x"}]})"), HasSubstr("../x"));
  EXPECT_THAT(Problem(R"({"stages": [{"stage": "data", "options": {"people": {}}}]})"),
              HasSubstr("data: people is {}"));
}

TEST(FingerprintsTest, FollowWhatAStageReads) {
  Recipe other_people = Parsed(kRecipe), other_ae = Parsed(kRecipe);
  other_people.stages[0].options["people"] = 200;
  other_ae.stages[1].options["channels"] = 8;
  const auto before = Fingerprints(Parsed(kRecipe));

  const auto people = Fingerprints(other_people), ae = Fingerprints(other_ae);

  EXPECT_NE(people[0], before[0]);
  EXPECT_NE(people[1], before[1]);
  EXPECT_NE(people[2], before[2]);
  EXPECT_EQ(ae[0], before[0]);
  EXPECT_NE(ae[1], before[1]);
  EXPECT_EQ(ae[2], before[2]);  // reads the people alone
}

TEST(RunRecipeTest, RunsEachStageOnceAndAgainWhatChanged) {
  const std::string folder = testing::FreshFolder();
  std::ostringstream log;
  std::vector<std::string> ran;
  const auto run = [&](const RecipeStage& stage) -> absl::StatusOr<bool> {
    ran.push_back(stage.name);
    return true;
  };
  Recipe recipe = Parsed(kRecipe);
  ASSERT_TRUE(RunRecipe(recipe, folder, run, log).ok());
  EXPECT_THAT(ran, ElementsAre("people", "ae", "clip"));
  ran.clear();

  const auto again = RunRecipe(recipe, folder, run, log);
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(ran.empty());
  EXPECT_EQ(again->skipped, 3);
  EXPECT_TRUE(again->finished);

  recipe.stages[1].options["channels"] = 8;
  ASSERT_TRUE(RunRecipe(recipe, folder, run, log).ok());
  EXPECT_THAT(ran, ElementsAre("ae"));
}

TEST(RunRecipeTest, GoesOnAtTheStageThatWasStoppedOrFailed) {
  const std::string folder = testing::FreshFolder();
  std::ostringstream log;
  const Recipe recipe = Parsed(kRecipe);
  const auto stopping = [](const RecipeStage& stage) -> absl::StatusOr<bool> {
    return stage.name != "ae";
  };
  const auto failing = [](const RecipeStage&) -> absl::StatusOr<bool> {
    return absl::InternalError("broken");
  };
  std::vector<std::string> ran;
  const auto run = [&](const RecipeStage& stage) -> absl::StatusOr<bool> {
    ran.push_back(stage.name);
    return true;
  };

  const auto stopped = RunRecipe(recipe, folder, stopping, log);
  const auto failed = RunRecipe(recipe, folder, failing, log);
  ASSERT_TRUE(RunRecipe(recipe, folder, run, log).ok());

  ASSERT_TRUE(stopped.ok());
  EXPECT_FALSE(stopped->finished);
  EXPECT_EQ(failed.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(failed.status().message()), HasSubstr("stage ae: broken"));
  EXPECT_THAT(ran, ElementsAre("ae", "clip"));
}

TEST(ReadLossTrendTest, ComparesTheEnds) {
  const std::string folder = testing::FreshFolder();
  std::ofstream(folder + "/loss.csv") << "step,seconds,loss,learning_rate,gradient_norm\n"
                                         "5,1,4,0,0\n10,1,3,0,0\n15,1,2,0,0\n20,1,1,0,0\n";

  const auto trend = ReadLossTrend(folder);

  ASSERT_TRUE(trend.ok());
  EXPECT_EQ(trend->first, 4);
  EXPECT_EQ(trend->last, 1);
  EXPECT_EQ(ReadLossTrend(folder + "/none").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace reenact
