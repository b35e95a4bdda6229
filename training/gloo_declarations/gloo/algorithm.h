// Nothing of it is needed here; see context.h.
#pragma once
