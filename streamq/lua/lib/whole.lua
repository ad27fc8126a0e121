-- The whole number from 1 to `most` that a field of the meta hash says; nil where it says none. Anybody can write
-- there, and no worker may stop for it.
local function whole(said, most)
  local number = tonumber(said)
  return number and number >= 1 and number <= most and math.floor(number) or nil
end
