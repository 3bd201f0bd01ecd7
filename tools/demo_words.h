/* The words of the demo's world. Lists are closed by NULL. */
#pragma once

extern const char *const plumb_demo_guests[], *const plumb_demo_things[];
/* What an answer begins and ends with. */
extern const char *const plumb_demo_polite_openings[], *const plumb_demo_rude_openings[],
                                                           *const plumb_demo_polite_closings[],
                                                               *const plumb_demo_rude_closings[];
