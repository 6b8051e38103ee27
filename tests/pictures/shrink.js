// Writes each picture named in the arguments anew, with as few colours as it needs to be read.
const fs = require('fs');
const UPNG = require('upng-js');

const COLOURS = 64;

for (const file of process.argv.slice(2)) {
  const found = UPNG.decode(fs.readFileSync(file));
  const [pixels] = UPNG.toRGBA8(found);
  fs.writeFileSync(file, Buffer.from(UPNG.encode([pixels], found.width, found.height, COLOURS)));
}
