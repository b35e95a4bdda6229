// The name under which VideoWriter was known when it wrote H.264 only.
#pragma once

#include "pipeline/media/video_writer.h"

namespace reenact {

using Mp4Writer = VideoWriter;

}  // namespace reenact
