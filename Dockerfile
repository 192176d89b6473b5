FROM node:24-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY patches patches
RUN npm ci
COPY tsconfig.json tsconfig.build.json ./
COPY src src
RUN npm run build

FROM node:24-slim
WORKDIR /app
ENV NODE_ENV=production HOST=0.0.0.0
COPY package.json package-lock.json .npmrc ./
COPY patches patches
RUN npm ci --omit=dev
COPY drizzle drizzle
COPY scripts/run-built.mjs scripts/run-built.mjs
COPY --from=build /app/dist dist
USER node
EXPOSE 4000
CMD ["node", "--enable-source-maps", "dist/main.js"]
