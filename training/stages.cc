#include "training/stages.h"

namespace reenact {

void AddAllStages(CLI::App& app, std::vector<Subcommand>& stages) {
  AddPeopleStage(app, stages);
  AddDemoStage(app, stages);
  AddDataStage(app, stages);
  AddCurateStage(app, stages);
  AddAutoencoderStage(app, stages);
  AddClipStage(app, stages);
  AddEncodeStage(app, stages);
  AddSditStage(app, stages);
  AddBundleStage(app, stages);
  AddSampleStage(app, stages);
}

}  // namespace reenact
